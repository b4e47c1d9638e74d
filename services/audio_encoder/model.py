"""The networks that turn log-mel spectrograms into an embedding, by the name in an artifact."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from services.audio_encoder.crnn import CrnnShape, PooledCrnn
from services.audio_encoder.from_scratch import read_nothing
from services.audio_encoder.network import Network, shape_of
from services.audio_encoder.tcn import PooledTcn, TcnShape
from services.audio_encoder.whisper import PooledWhisper, WhisperShape, read_whisper


class Architecture(NamedTuple):
    """How to build one kind of network from the config's `model`, and to read its base weights."""

    build: Callable[[Mapping[str, Any]], Network]
    read: Callable[[Path], dict[str, torch.Tensor]]


ARCHITECTURES: Final = {
    "whisper": Architecture(
        lambda model: PooledWhisper(shape_of(WhisperShape, model)), read_whisper
    ),
    "crnn": Architecture(lambda model: PooledCrnn(shape_of(CrnnShape, model)), read_nothing),
    "tcn": Architecture(lambda model: PooledTcn(shape_of(TcnShape, model)), read_nothing),
}
