"""RNN-type: a GRU or an LSTM reads the text from both ends; its states, pooled, are the embedding.

It is trained from scratch: there are no published weights to begin with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from services.text_encoder.choices import Choices
from services.text_encoder.network import Network
from services.text_encoder.pooling import POOLINGS

CELLS: Final[Choices[type[nn.GRU] | type[nn.LSTM]]] = Choices("cell", gru=nn.GRU, lstm=nn.LSTM)


@dataclass(frozen=True, slots=True)
class RnnShape:
    """The shape of a bidirectional RNN.

    `hidden_size` is of each direction, `cell` one of CELLS. The embedding holds what each of
    `poolings`, names of POOLINGS, makes of the last layer. `dropout` is a probability, on the
    token embeddings and between the layers, and only training feels it.
    """

    vocab_size: int
    embedding_size: int
    hidden_size: int
    num_layers: int = 2
    cell: str = "gru"
    poolings: Sequence[str] = ("mean", "max")
    dropout: float = 0.0


class PooledRnn(Network):
    """Learned token embeddings, several layers in both directions, one or more poolings."""

    def __init__(self, shape: RnnShape) -> None:
        super().__init__()
        self.poolings = [POOLINGS[name] for name in shape.poolings]
        self.dim = 2 * shape.hidden_size * len(self.poolings)
        self.vocabulary = shape.vocab_size
        self.embedding = nn.Embedding(shape.vocab_size, shape.embedding_size)
        self.dropout = nn.Dropout(shape.dropout)
        self.rnn = CELLS[shape.cell](
            shape.embedding_size,
            shape.hidden_size,
            shape.num_layers,
            batch_first=True,
            bidirectional=True,
            dropout=shape.dropout if shape.num_layers > 1 else 0.0,
        )

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(items, tokens) ids and mask -> float32 (items, dim).

        Packed, each text ends for the RNN where its tokens do, and the way back begins there.
        """
        packed = pack_padded_sequence(
            self.dropout(self.embedding(input_ids)),
            attention_mask.sum(1).cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        states, _ = self.rnn(packed)
        hidden, _ = pad_packed_sequence(states, batch_first=True, total_length=input_ids.shape[1])
        return torch.cat([pool(hidden, attention_mask) for pool in self.poolings], dim=1)


def read_rnn(file: Path) -> NoReturn:
    """Raises ValueError: whatever the file holds, it is no published RNN."""
    raise ValueError(f"an rnn is trained from scratch and has no published weights, as in {file}")
