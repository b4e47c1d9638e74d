"""Writes a Whisper encoder as CTranslate2 stores it, float16, among a decoder's variables."""

import re
import struct
from pathlib import Path

import numpy as np
import torch
from torch import nn

FLOAT16, INT16 = 4, 2

NAMES = (
    (r"^positions$", "encoder/position_encodings/encodings"),
    (r"^(conv\d)\.(\w+)$", r"encoder/\1/\2"),
    (r"^layers\.(\d+)\.attention_norm", r"encoder/layer_\1/self_attention/layer_norm"),
    (r"^layers\.(\d+)\.attention\.qkv", r"encoder/layer_\1/self_attention/linear_0"),
    (r"^layers\.(\d+)\.attention\.out", r"encoder/layer_\1/self_attention/linear_1"),
    (r"^layers\.(\d+)\.mlp_norm", r"encoder/layer_\1/ffn/layer_norm"),
    (r"^layers\.(\d+)\.mlp\.0", r"encoder/layer_\1/ffn/linear_0"),
    (r"^layers\.(\d+)\.mlp\.2", r"encoder/layer_\1/ffn/linear_1"),
    (r"^norm", "encoder/layer_norm"),
    (r"layer_norm\.weight$", "layer_norm/gamma"),
    (r"layer_norm\.bias$", "layer_norm/beta"),
    (r"\.(weight|bias)$", r"/\1"),
)


def write_whisper(file: Path, encoder: nn.Module, version: int = 6) -> None:
    """Write the encoder's weights into `file`."""
    variables = [("decoder/embeddings/weight", np.zeros((3, 2), np.float16))]
    variables += [("encoder/num_heads", np.array(2, np.int16))]
    variables += [(name, w.half().numpy()) for name, w in _named(encoder.state_dict()).items()]
    header = struct.pack("<I", version) + _text("WhisperSpec")
    header += struct.pack("<II", 3, len(variables))
    file.write_bytes(header + b"".join(_variable(*variable) for variable in variables))


def _named(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    named = {}
    for name, weight in weights.items():
        for pattern, theirs in NAMES:
            name = re.sub(pattern, theirs, name)
        named[name] = weight
    return named


def _variable(name: str, array: np.ndarray) -> bytes:
    kind = FLOAT16 if array.dtype == np.float16 else INT16
    shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
    return _text(name) + shape + struct.pack("<BI", kind, array.nbytes) + array.tobytes()


def _text(text: str) -> bytes:
    data = text.encode() + b"\0"
    return struct.pack("<H", len(data)) + data
