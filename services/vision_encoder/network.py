"""What every network of the vision encoder is."""

from torch import nn


class Network(nn.Module):
    """A network from pixels, float32 (items, 3, side, side), to embeddings (items, dim).

    `size` is the only side that it takes, in pixels; None if it takes any.
    """

    dim: int
    size: int | None = None
