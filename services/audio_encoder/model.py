"""The networks that turn log-mel spectrograms into an embedding, by the name in an artifact."""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

# Keeps the deviation's slope finite for sounds of a single frame.
LEAST_VARIANCE: Final = 1e-8


@dataclass(frozen=True, slots=True)
class WhisperShape:
    """The shape of Whisper's encoder, and which of its layers make the embedding.

    Layer 0 is what the convolutions give, layer n the output of the n-th Transformer layer. The
    last one ends in the encoder's own norm.
    """

    mels: int
    width: int
    layers: int
    heads: int
    positions: int
    pooled: tuple[int, ...]


class Network(nn.Module):
    """A network and the length of its embeddings."""

    dim: int


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

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor, attends: torch.Tensor) -> torch.Tensor:
        """As Attention."""
        x = x + self.attention(self.attention_norm(x), attends)
        y: torch.Tensor = x + self.mlp(self.mlp_norm(x))
        return y


class PooledWhisper(Network):
    """Whisper's encoder on a sound's own length; mean and deviation over time of some layers.

    A batch gives what each sound would give alone: padding is hidden from the second convolution,
    from attention and from the statistics. Its layers are written here since importing
    transformers takes a node three seconds of a core.
    """

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.pooled = tuple(shape.pooled)
        self.dim = 2 * shape.width * len(self.pooled)
        self.conv1 = nn.Conv1d(shape.mels, shape.width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(shape.width, shape.width, kernel_size=3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.zeros(shape.positions, shape.width))
        self.layers = nn.ModuleList(
            WhisperLayer(shape.width, shape.heads) for _ in range(shape.layers)
        )
        self.norm = nn.LayerNorm(shape.width)

    def forward(self, mel: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """(items, mels, frames) and each one's own frames -> float32 (items, dim)."""
        steps = (frames + 1) // 2  # the second convolution has a stride of 2
        hidden = self._convolve(mel, frames)
        is_real = _until(steps, hidden.shape[1])
        layers = self._layers(hidden, attends=is_real[:, None, None, :])
        pooled = [_statistics(layers[number], is_real) for number in self.pooled]
        return torch.cat(pooled, dim=-1)

    def _convolve(self, mel: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """(items, mels, frames) -> (items, steps, width), positions added."""
        x = nn.functional.gelu(self.conv1(mel))
        # Alone, a sound would meet the convolution's own zeros here.
        x = x * _until(frames, mel.shape[-1])[:, None, :]
        x = nn.functional.gelu(self.conv2(x)).transpose(1, 2)
        return x + self.positions[: x.shape[1]]

    def _layers(self, hidden: torch.Tensor, attends: torch.Tensor) -> list[torch.Tensor]:
        """The layers' outputs, from 0 to the last that is pooled."""
        layers = [hidden]
        for layer in self.layers[: max(self.pooled)]:
            layers.append(layer(layers[-1], attends))
        if len(layers) > len(self.layers):
            layers[-1] = self.norm(layers[-1])
        return layers


def _until(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    """(items,) -> bool (items, longest): which places lie within each item's length."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def _statistics(hidden: torch.Tensor, is_real: torch.Tensor) -> torch.Tensor:
    """(items, steps, width) -> (items, 2 x width): mean and deviation over the real steps."""
    weights = is_real[:, :, None].float()
    count = weights.sum(1)
    hidden = hidden.float()
    mean = (hidden * weights).sum(1) / count
    variance = ((hidden - mean[:, None]).square() * weights).sum(1) / count
    return torch.cat([mean, variance.clamp(min=LEAST_VARIANCE).sqrt()], dim=-1)


# The version of CTranslate2's binary format, and its numbers for the types of a variable.
_FORMAT: Final = 6
_DTYPES: Final = {0: np.float32, 4: np.float16}

# CTranslate2's names of the encoder's variables, and ours. Query, key and value are one in both;
# the key has no bias in Whisper, and is given one of zeros.
_RENAMED: Final = (
    (r"^encoder/position_encodings/encodings$", "positions"),
    (r"^encoder/(conv1|conv2)/", r"\1."),
    (r"^encoder/layer_norm/", "norm."),
    (r"^encoder/layer_(\d+)/self_attention/layer_norm/", r"layers.\1.attention_norm."),
    (r"^encoder/layer_(\d+)/self_attention/linear_0/", r"layers.\1.attention.qkv."),
    (r"^encoder/layer_(\d+)/self_attention/linear_1/", r"layers.\1.attention.out."),
    (r"^encoder/layer_(\d+)/ffn/layer_norm/", r"layers.\1.mlp_norm."),
    (r"^encoder/layer_(\d+)/ffn/linear_0/", r"layers.\1.mlp.0."),
    (r"^encoder/layer_(\d+)/ffn/linear_1/", r"layers.\1.mlp.2."),
    (r"gamma$", "weight"),
    (r"beta$", "bias"),
)


def read_whisper(file: Path) -> dict[str, torch.Tensor]:
    """The encoder's weights of a Whisper that CTranslate2 stored, under PooledWhisper's names."""
    with file.open("rb") as stream:
        return {_rename(name): torch.from_numpy(weight) for name, weight in _variables(stream)}


def _rename(name: str) -> str:
    for pattern, ours in _RENAMED:
        name = re.sub(pattern, ours, name)
    return name


def _variables(stream: BinaryIO) -> Iterator[tuple[str, npt.NDArray[np.floating[Any]]]]:
    """The encoder's arrays in a CTranslate2 model.bin, which is, little-endian:

    format: u32, name of the model: text, its revision: u32, number of variables: u32; for each its
    name: text, rank: u8, dimensions: u32 each, type: u8, bytes: u32, data. A text is its length as
    u16 and characters ending in a zero.
    """
    (version,) = _unpack(stream, "I")
    if version != _FORMAT or _text(stream) != "WhisperSpec":
        raise ValueError("this is no Whisper in version 6 of CTranslate2's format")
    _, count = _unpack(stream, "II")
    for _ in range(count):
        name = _text(stream)
        (rank,) = _unpack(stream, "B")
        shape = _unpack(stream, f"{rank}I")
        kind, length = _unpack(stream, "BI")
        data = stream.read(length)
        if name.startswith("encoder/") and kind in _DTYPES:
            yield name, np.frombuffer(bytearray(data), _DTYPES[kind]).reshape(shape)


def _text(stream: BinaryIO) -> str:
    (length,) = _unpack(stream, "H")
    return stream.read(length).rstrip(b"\0").decode()


def _unpack(stream: BinaryIO, layout: str) -> tuple[int, ...]:
    layout = "<" + layout
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


class Architecture(NamedTuple):
    """How to build one kind of network from the config's `model`, and to read its base weights."""

    build: Callable[[Mapping[str, Any]], Network]
    read: Callable[[Path], dict[str, torch.Tensor]]


ARCHITECTURES: Final = {
    "whisper": Architecture(lambda model: PooledWhisper(WhisperShape(**model)), read_whisper),
}
