"""Whisper's encoder (Radford et al. 2022), pooled, and its published weights."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from torch import nn

from services.audio_encoder.ctranslate2 import read_ctranslate2
from services.audio_encoder.network import Network
from services.audio_encoder.pooling import statistics, until


@dataclass(frozen=True, slots=True)
class WhisperShape:
    """The shape of Whisper's encoder, and which of its layers make the embedding.

    Layer 0 is what the convolutions give, layer n the output of the n-th Transformer layer. The
    last one ends in the encoder's own norm. What lies above the last one that is pooled is not
    built. `dropout` is a probability, on what is added to a layer's input, and only training feels
    it. ValueError if `pooled` names none, or layers that there are not.
    """

    mels: int
    width: int
    layers: int
    heads: int
    positions: int
    pooled: tuple[int, ...]
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not self.pooled or not set(self.pooled) <= set(range(self.layers + 1)):
            raise ValueError(
                f"pooled is {list(self.pooled)}, not some of layers 0 to {self.layers}"
            )


class Attention(nn.Module):
    """Multi-head self-attention; query, key and value come from one matrix."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, attends: torch.Tensor) -> torch.Tensor:
        """(items, steps, width) and bool (items, 1, 1, steps): what is seen -> as x."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attends)
        mixed: torch.Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return mixed


class WhisperLayer(nn.Module):
    """Attention, then two linear layers; each is normalised before, and added to its input."""

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        width = shape.width
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, shape.heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: torch.Tensor, attends: torch.Tensor) -> torch.Tensor:
        """As Attention."""
        x = x + self.dropout(self.attention(self.attention_norm(x), attends))
        y: torch.Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return y


class PooledWhisper(Network):
    """Whisper's encoder on a sound's own length; mean and deviation over time of some layers.

    A batch gives what each sound would give alone: padding is hidden from the second convolution,
    from attention and from the statistics. Its layers are written here since importing
    transformers takes a node three seconds of a core.
    """

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.shape = shape
        self.dim = 2 * shape.width * len(shape.pooled)
        self.mels = shape.mels
        self.longest = 2 * shape.positions
        self.conv1 = nn.Conv1d(shape.mels, shape.width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(shape.width, shape.width, kernel_size=3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.zeros(shape.positions, shape.width))
        built = max(shape.pooled)
        self.layers = nn.ModuleList(WhisperLayer(shape) for _ in range(built))
        self.norm = nn.LayerNorm(shape.width) if built == shape.layers else nn.Identity()
        self.register_load_state_dict_pre_hook(  # type: ignore[no-untyped-call]  # torch's own
            _leave_out_what_is_not_built
        )

    def forward(self, mel: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """(items, mels, frames) and each one's own frames -> float32 (items, dim)."""
        steps = (frames + 1) // 2  # the second convolution has a stride of 2
        hidden = self._convolve(mel, frames)
        is_real = until(steps, hidden.shape[1])
        layers = self._layers(hidden, attends=is_real[:, None, None, :])
        return torch.cat([statistics(layers[n], is_real) for n in self.shape.pooled], dim=-1)

    def _convolve(self, mel: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """(items, mels, frames) -> (items, steps, width), positions added."""
        x = nn.functional.gelu(self.conv1(mel))
        # Alone, a sound would meet the convolution's own zeros here.
        x = x * until(frames, mel.shape[-1])[:, None, :]
        x = nn.functional.gelu(self.conv2(x)).transpose(1, 2)
        return x + self.positions[: x.shape[1]]

    def _layers(self, hidden: torch.Tensor, attends: torch.Tensor) -> list[torch.Tensor]:
        """The layers' outputs, from 0 to the last that is pooled."""
        layers = [hidden]
        for layer in self.layers:
            layers.append(layer(layers[-1], attends))
        return [*layers[:-1], self.norm(layers[-1])]


def _leave_out_what_is_not_built(
    network: PooledWhisper, weights: dict[str, torch.Tensor], prefix: str, *_: object
) -> None:
    """So that the weights of the whole encoder fit strictly."""
    above = range(len(network.layers), network.shape.layers)
    unused = tuple(f"{prefix}layers.{number}." for number in above)
    unused += (f"{prefix}norm.",) if above else ()
    for name in [name for name in weights if name.startswith(unused)]:
        del weights[name]


# What is the encoder's in a published file; it is the whole model, or the part without its head.
_ENCODERS: Final = re.compile(r"^(?:model\.)?encoder\.(.+)$")
# The published names, and ours.
_RENAMED: Final = (
    (r"^embed_positions\.weight$", "positions"),
    (r"^layer_norm\.", "norm."),
    (r"\.self_attn_layer_norm\.", ".attention_norm."),
    (r"\.self_attn\.out_proj\.", ".attention.out."),
    (r"\.final_layer_norm\.", ".mlp_norm."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
)
# Apart in the published file, one after the other in ours.
_QUERY: Final = re.compile(r"^(layers\.\d+)\.self_attn\.q_proj\.(weight|bias)$")


def read_whisper(file: Path) -> dict[str, torch.Tensor]:
    """The weights of a Whisper's encoder, under PooledWhisper's names.

    They come from a model.safetensors, as Hugging Face publishes them, or, whatever it is called
    else, from CTranslate2's model.bin.
    """
    return _read_published(file) if file.suffix == ".safetensors" else read_ctranslate2(file)


def _read_published(file: Path) -> dict[str, torch.Tensor]:
    published = _encoder_of(file)
    apart = (".q_proj.", ".k_proj.", ".v_proj.")
    weights = {
        _rename(name): weight
        for name, weight in published.items()
        if not any(part in name for part in apart)
    }
    for query in filter(None, map(_QUERY.match, published)):
        names = [query[0].replace(".q_proj.", part) for part in apart]
        # The key has no bias in Whisper, and is given one of zeros.
        none = {names[1]: torch.zeros_like(published[query[0]])} if query[2] == "bias" else {}
        parts = [(none | published)[name] for name in names]
        weights[f"{query[1]}.attention.qkv.{query[2]}"] = torch.cat(parts)
    return weights


def _encoder_of(file: Path) -> dict[str, torch.Tensor]:
    """The published encoder's weights by their names in it; the decoder's are not even read."""
    with safe_open(file, framework="pt") as stored:
        matches = filter(None, map(_ENCODERS.match, stored.keys()))
        return {match[1]: stored.get_tensor(match[0]) for match in matches}


def _rename(name: str) -> str:
    for pattern, ours in _RENAMED:
        name = re.sub(pattern, ours, name)
    return name
