"""What every audio network is to the encoder, whichever family it is of."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, TypeVar

from torch import nn

S = TypeVar("S")


class Network(nn.Module):
    """(items, mels, frames) and each item's own frames (items,) -> float32 (items, dim).

    It takes spectrograms of `mels` bands and of `longest` frames at most; None where their length
    is not limited.
    """

    dim: int
    mels: int
    longest: int | None = None


def shape_of(kind: Callable[..., S], model: Mapping[str, Any]) -> S:
    """A network's shape from the config's `model`; ValueError names keys that it doesn't have."""
    known = signature(kind).parameters
    if unknown := sorted(model.keys() - known.keys()):
        raise ValueError(f"`model` has {', '.join(unknown)}, which is none of {', '.join(known)}")
    return kind(**model)
