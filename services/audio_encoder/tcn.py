"""TCN: dilated convolutions over time that reach twice as far at each level (Bai et al. 2018).

It is trained from scratch: there are no published weights to begin with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from services.audio_encoder.from_scratch import standardised
from services.audio_encoder.network import Network
from services.audio_encoder.pooling import statistics, until


@dataclass(frozen=True, slots=True)
class TcnShape:
    """The shape of a TCN.

    `channels` has one number for each level; what a convolution sees lies 2^level frames apart,
    `kernel` frames in all: those before and after, or with `causal` only those before. `dropout`
    is a probability, after each convolution, and only training feels it.
    """

    mels: int
    channels: Sequence[int]
    kernel: int = 3
    causal: bool = False
    dropout: float = 0.0


class Level(nn.Module):
    """Two dilated convolutions, each with ReLU and dropout; they are added to their input."""

    def __init__(self, shape: TcnShape, number: int) -> None:
        super().__init__()
        inputs, outputs = (shape.mels, *shape.channels)[number : number + 2]
        dilation = 2**number
        reach = dilation * (shape.kernel - 1)
        ahead = 0 if shape.causal else reach // 2
        self.padding = (reach - ahead, ahead)
        self.conv1 = weight_norm(nn.Conv1d(inputs, outputs, shape.kernel, dilation=dilation))
        self.conv2 = weight_norm(nn.Conv1d(outputs, outputs, shape.kernel, dilation=dilation))
        self.shortcut = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: torch.Tensor, is_real: torch.Tensor) -> torch.Tensor:
        """(items, inputs, frames), zero where not real, and bool (items, 1, frames)
        -> (items, outputs, frames), zero where not real: alone, a sound would meet zeros there.
        """
        y = x
        for conv in (self.conv1, self.conv2):
            y = nn.functional.relu(conv(nn.functional.pad(y, self.padding)))
            y = self.dropout(y) * is_real
        return nn.functional.relu(y + self.shortcut(x)) * is_real


class PooledTcn(Network):
    """Levels of dilated convolutions; mean and deviation over time of what the last one gives."""

    def __init__(self, shape: TcnShape) -> None:
        super().__init__()
        self.dim = 2 * shape.channels[-1]
        self.mels = shape.mels
        self.levels = nn.ModuleList(Level(shape, number) for number in range(len(shape.channels)))

    def forward(self, mel: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """(items, mels, frames) and each one's own frames -> float32 (items, dim)."""
        is_real = until(frames, mel.shape[-1])
        x = standardised(mel, is_real)
        for level in self.levels:
            x = level(x, is_real[:, None, :])
        return statistics(x.transpose(1, 2), is_real)
