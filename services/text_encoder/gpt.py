"""GPT-type: every token sees those before it; the last one, or their mean, is the embedding."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import safetensors.torch
import torch
from transformers import GPT2Config, GPT2Model

from services.text_encoder.network import Network
from services.text_encoder.pooling import POOLINGS


@dataclass(frozen=True, slots=True)
class GptShape:
    """The shape of a GPT-2, under the names of its published config.json.

    `n_inner` is four times `n_embd` unless given. `pooling` is one of POOLINGS. `dropout` is a
    probability that only training feels, and stands for the published three.
    """

    vocab_size: int
    n_embd: int
    n_layer: int
    n_head: int
    n_positions: int = 1024
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    pooling: str = "last"
    dropout: float = 0.0


class PooledGpt(Network):
    """transformers' GPT-2 (Radford et al. 2019) without its language model's head, pooled."""

    def __init__(self, shape: GptShape) -> None:
        super().__init__()
        self.dim = shape.n_embd
        self.vocabulary, self.positions = shape.vocab_size, shape.n_positions
        self.pool = POOLINGS[shape.pooling]
        self.gpt = GPT2Model(_config(shape))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(items, tokens) ids and mask -> float32 (items, dim); padding is no token."""
        output = self.gpt(input_ids, attention_mask=attention_mask, use_cache=False)
        return self.pool(output.last_hidden_state, attention_mask)


def _config(shape: GptShape) -> GPT2Config:
    return GPT2Config(
        vocab_size=shape.vocab_size,
        n_embd=shape.n_embd,
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        n_positions=shape.n_positions,
        n_inner=shape.n_inner,
        activation_function=shape.activation_function,
        layer_norm_epsilon=shape.layer_norm_epsilon,
        embd_pdrop=shape.dropout,
        attn_pdrop=shape.dropout,
        resid_pdrop=shape.dropout,
        # Only who writes text needs these, and a smaller vocabulary may not have GPT-2's.
        bos_token_id=None,
        eos_token_id=None,
    )


# Not the text's: the causal mask, which older files store, and the language model's head.
_UNUSED: Final = (".attn.bias", ".attn.masked_bias", "lm_head.weight")


def read_gpt(file: Path) -> dict[str, torch.Tensor]:
    """The weights of a published GPT-2's safetensors, under PooledGpt's names.

    They are the same with a language model's head, whose files have a "transformer." before them.
    """
    return {
        "gpt." + name.removeprefix("transformer."): weight
        for name, weight in safetensors.torch.load_file(file).items()
        if not name.endswith(_UNUSED)
    }
