"""What every text network is to the encoder, whichever family it is of."""

from torch import nn


class Network(nn.Module):
    """(items, tokens) ids and mask, padded on the right -> float32 (items, dim).

    It knows the token ids below `vocabulary`, and takes texts of `positions` tokens at most; None
    where their length is not limited.
    """

    dim: int
    vocabulary: int
    positions: int | None = None
