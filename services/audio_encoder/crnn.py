"""CRNN: convolutions over time and pitch, a GRU over what they found, statistics over its states.

It is trained from scratch: there are no published weights to begin with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from services.audio_encoder.from_scratch import standardised
from services.audio_encoder.network import Network
from services.audio_encoder.pooling import Attention, statistics, until


@dataclass(frozen=True, slots=True)
class CrnnShape:
    """The shape of a CRNN.

    `channels` has one number for each block of convolution, which halves bands and frames;
    `hidden` is the GRU's width in each direction, `layers` how many of them stand on each other.
    With `attention` the network learns how much each step counts in the embedding. `dropout` is a
    probability, after each block, and only training feels it.
    """

    mels: int
    channels: Sequence[int]
    hidden: int
    layers: int = 1
    attention: bool = False
    dropout: float = 0.0


class Block(nn.Module):
    """Convolution, batch norm, ReLU, and the greatest of each two bands by two frames."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: torch.Tensor, is_real: torch.Tensor) -> torch.Tensor:
        """(items, inputs, frames, bands), zero where not real, and bool (items, frames)
        -> (items, outputs, frames / 2, bands / 2), both rounded up, zero where not real.

        Padding has no part in the batch's statistics. It is zero afterwards, as what a convolution
        meets beyond a sound alone, and never greater than what the ReLU gives.
        """
        real = self.conv(x).transpose(1, 2)[is_real]
        real = nn.functional.relu(self.norm(real))
        whole = real.new_zeros(*is_real.shape, *real.shape[1:])
        whole[is_real] = real
        return nn.functional.max_pool2d(whole.transpose(1, 2), kernel_size=2, ceil_mode=True)


class PooledCrnn(Network):
    """Blocks of convolution, a bidirectional GRU; mean and deviation over time of its states."""

    def __init__(self, shape: CrnnShape) -> None:
        super().__init__()
        self.dim = 4 * shape.hidden
        self.mels = shape.mels
        self.blocks = nn.ModuleList(Block(*sizes) for sizes in pairwise((1, *shape.channels)))
        self.dropout = nn.Dropout(shape.dropout)
        bands = -(-shape.mels // 2 ** len(self.blocks))
        self.gru = nn.GRU(
            shape.channels[-1] * bands,
            shape.hidden,
            shape.layers,
            batch_first=True,
            bidirectional=True,
        )
        self.attention = Attention(2 * shape.hidden) if shape.attention else None

    def forward(self, mel: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """(items, mels, frames) and each one's own frames -> float32 (items, dim)."""
        hidden, steps = self._convolve(mel, frames)
        hidden = self._read(hidden, steps)
        is_real = until(steps, hidden.shape[1])
        return statistics(hidden, self.attention(hidden, is_real) if self.attention else is_real)

    def _convolve(
        self, mel: torch.Tensor, frames: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `forward` -> (items, steps, channels x bands), and each one's own steps."""
        x = standardised(mel, until(frames, mel.shape[-1])).transpose(1, 2)[:, None]
        for block in self.blocks:
            x = self.dropout(block(x, until(frames, x.shape[2])))
            frames = (frames + 1) // 2
        return x.transpose(1, 2).flatten(2), frames

    def _read(self, hidden: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        """(items, steps, width) -> (items, steps, 2 x hidden).

        Packed, each sound ends for the GRU where it does alone, and the way back begins there.
        """
        packed = pack_padded_sequence(hidden, steps.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = self.gru(packed)
        read, _ = pad_packed_sequence(states, batch_first=True, total_length=hidden.shape[1])
        return read
