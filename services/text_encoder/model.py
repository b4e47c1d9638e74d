"""The networks that turn token ids into an embedding, by the name that an artifact gives."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import safetensors.torch
import torch
from torch import nn
from transformers import BertConfig, BertModel


@dataclass(frozen=True, slots=True)
class BertShape:
    """The shape of a BERT, under the names of its published config.json."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12


class Network(nn.Module):
    """A network and the length of its embeddings."""

    dim: int


class MeanPooledBert(Network):
    """A sentence encoder: BERT, the mean over the tokens, L2 norm (Reimers and Gurevych 2019)."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.dim = shape.hidden_size
        self.bert = BertModel(BertConfig(**asdict(shape)), add_pooling_layer=False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(items, tokens) ids and mask -> float32 (items, dim) of length 1; padding is no token."""
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).float()
        mean = (hidden.float() * weights).sum(1) / weights.sum(1)
        return nn.functional.normalize(mean, dim=-1)


def read_bert(file: Path) -> dict[str, torch.Tensor]:
    """The weights of a published BERT's safetensors, under MeanPooledBert's names.

    The pooler serves BERT's own training task only, and positions are no longer stored as weights.
    """
    unused = ("pooler.", "embeddings.position_ids")
    weights = safetensors.torch.load_file(file)
    return {f"bert.{name}": w for name, w in weights.items() if not name.startswith(unused)}


class Architecture(NamedTuple):
    """How to build one kind of network from the config's `model`, and to read its base weights."""

    build: Callable[[Mapping[str, Any]], Network]
    read: Callable[[Path], dict[str, torch.Tensor]]


ARCHITECTURES: Final = {
    "bert": Architecture(lambda model: MeanPooledBert(BertShape(**model)), read_bert),
}
