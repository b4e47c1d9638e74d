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
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

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


class PooledWhisper(Network):
    """Whisper's encoder on a sound's own length; mean and deviation over time of some layers.

    A batch gives what each sound would give alone: padding is hidden from the second convolution,
    from attention and from the statistics.
    """

    def __init__(self, shape: WhisperShape) -> None:
        super().__init__()
        self.pooled = tuple(shape.pooled)
        self.dim = 2 * shape.width * len(self.pooled)
        self.encoder = WhisperEncoder(
            WhisperConfig(
                num_mel_bins=shape.mels,
                d_model=shape.width,
                encoder_layers=shape.layers,
                encoder_attention_heads=shape.heads,
                encoder_ffn_dim=4 * shape.width,
                max_source_positions=shape.positions,
            )
        )

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
        x = nn.functional.gelu(self.encoder.conv1(mel))
        # Alone, a sound would meet the convolution's own zeros here.
        x = x * _until(frames, mel.shape[-1])[:, None, :]
        x = nn.functional.gelu(self.encoder.conv2(x)).transpose(1, 2)
        return x + self.encoder.embed_positions.weight[: x.shape[1]]

    def _layers(self, hidden: torch.Tensor, attends: torch.Tensor) -> list[torch.Tensor]:
        """The layers' outputs, from 0 to the last that is pooled."""
        layers = [hidden]
        for layer in self.encoder.layers[: max(self.pooled)]:
            layers.append(layer(layers[-1], attends))
        if len(layers) > len(self.encoder.layers):
            layers[-1] = self.encoder.layer_norm(layers[-1])
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

# CTranslate2's names of the encoder's variables, and those of WhisperEncoder.
_RENAMED: Final = (
    (r"^encoder/position_encodings/encodings$", "embed_positions.weight"),
    (r"^encoder/(conv1|conv2|layer_norm)/", r"\1."),
    (r"^encoder/layer_(\d+)/self_attention/layer_norm/", r"layers.\1.self_attn_layer_norm."),
    (r"^encoder/layer_(\d+)/self_attention/linear_0/", r"layers.\1.self_attn.qkv_proj."),
    (r"^encoder/layer_(\d+)/self_attention/linear_1/", r"layers.\1.self_attn.out_proj."),
    (r"^encoder/layer_(\d+)/ffn/layer_norm/", r"layers.\1.final_layer_norm."),
    (r"^encoder/layer_(\d+)/ffn/linear_0/", r"layers.\1.fc1."),
    (r"^encoder/layer_(\d+)/ffn/linear_1/", r"layers.\1.fc2."),
    (r"gamma$", "weight"),
    (r"beta$", "bias"),
)


def read_whisper(file: Path) -> dict[str, torch.Tensor]:
    """The encoder's weights of a Whisper that CTranslate2 stored, under PooledWhisper's names."""
    weights: dict[str, torch.Tensor] = {}
    with file.open("rb") as stream:
        for name, weight in _variables(stream):
            for pattern, ours in _RENAMED:
                name = re.sub(pattern, ours, name)
            weights |= _unfuse(name, torch.from_numpy(weight))
    return {f"encoder.{name}": weight for name, weight in weights.items()}


def _unfuse(name: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Query, key and value apart. The key has no bias in Whisper; it is stored as zeros."""
    if "qkv_proj" not in name:
        return {name: weight}
    parts = zip(("q_proj", "k_proj", "v_proj"), weight.chunk(3), strict=True)
    named = {name.replace("qkv_proj", part): chunk for part, chunk in parts}
    return {name: chunk for name, chunk in named.items() if not name.endswith("k_proj.bias")}


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
