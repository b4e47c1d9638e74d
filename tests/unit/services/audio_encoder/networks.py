"""Tiny audio networks of every family, and spectrograms for them."""

from collections.abc import Mapping
from typing import Any, Final

import torch

from services.audio_encoder.model import ARCHITECTURES
from services.audio_encoder.network import Network
from services.audio_encoder.preprocess import AudioItem, collate
from tests.encoder_artifacts import WHISPER, seeded

MELS: Final = 80
CRNN: Final = {"mels": MELS, "channels": [4, 6], "hidden": 8}
TCN: Final = {"mels": MELS, "channels": [8, 8, 12], "kernel": 3}
MODELS: Final[Mapping[str, Mapping[str, Any]]] = {"whisper": WHISPER, "crnn": CRNN, "tcn": TCN}

LENGTHS: Final = (1, 2, 3, 4, 7, 50, 99)


def network(architecture: str, **settings: Any) -> Network:
    """A network of a family with pinned weights, in eval mode."""
    built = ARCHITECTURES[architecture].build({**MODELS[architecture], **settings})
    seeded(built)
    return built


def noise(frames: int) -> torch.Tensor:
    """A spectrogram (MELS, frames) that is nowhere zero."""
    generator = torch.Generator().manual_seed(frames)
    return torch.randn(MELS, frames, generator=generator) + 0.5


RAGGED: Final = [noise(frames) for frames in LENGTHS]


def batch(*mels: torch.Tensor) -> dict[str, torch.Tensor]:
    """The networks' inputs for these spectrograms."""
    inputs = collate([AudioItem(mel.numpy(), truncated=False) for mel in mels])
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def encode(built: Network, *mels: torch.Tensor) -> torch.Tensor:
    """The embeddings of these spectrograms, in one batch."""
    with torch.inference_mode():
        vectors: torch.Tensor = built(**batch(*mels))
    return vectors


def one_by_one(built: Network, *mels: torch.Tensor) -> torch.Tensor:
    """The same, each spectrogram by itself."""
    return torch.cat([encode(built, mel) for mel in mels])
