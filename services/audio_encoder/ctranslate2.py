"""CTranslate2's file of a Whisper, read without CTranslate2."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import torch

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


def read_ctranslate2(file: Path) -> dict[str, torch.Tensor]:
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
