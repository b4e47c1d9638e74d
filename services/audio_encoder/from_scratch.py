"""What the networks share that are trained from scratch."""

from pathlib import Path
from typing import Final, NoReturn

import torch

# About the mean and deviation of speech's log-mel spectrograms (0.12 and 0.45 over EmoDB).
MEL_MEAN: Final = 0.1
MEL_DEVIATION: Final = 0.5


def standardised(mel: torch.Tensor, is_real: torch.Tensor) -> torch.Tensor:
    """(items, mels, frames) about 0, of deviation about 1; padding, which is_real hides, is 0."""
    return (mel - MEL_MEAN) / MEL_DEVIATION * is_real[:, None, :]


def read_nothing(file: Path) -> NoReturn:
    """Raises ValueError: whatever the file holds, it is no published network of this family."""
    raise ValueError(f"this network is trained from scratch; no published weights, as in {file}")
