"""A batch computed in parts that fit a processor's caches.

A batch saves what each call and each change of thread takes; more items in one run of the model
may save nothing, and leave the caches. So the two have limits of their own. Parts hold items of
about one size: where each is a single item, there is no padding either.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mesh.encoding import Encoder, Item
from mesh.errors import MeshError
from mesh.grouping import BatchLimits, parts
from mesh.settings import NodeSettings

Vectors = npt.NDArray[np.float32]


def batch_limits(encoder: Encoder[Any], settings: NodeSettings) -> BatchLimits:
    """Of batches: as the settings have it, or else the encoder's own."""
    return BatchLimits(settings.max_batch, settings.max_batch_cost or encoder.max_batch_size)


def micro_batch_limits(encoder: Encoder[Any], settings: NodeSettings) -> BatchLimits:
    """Of their parts; where the settings have none, a batch is one part."""
    limits = batch_limits(encoder, settings)
    return replace(limits, max_cost=settings.micro_batch_cost or limits.max_cost)


def forward(encoder: Encoder[Any], items: Sequence[Item], limits: BatchLimits) -> Vectors:
    """The encoder's forward in parts of these limits: float32 of shape (len(items), dim).

    Raises MeshError where the encoder breaks its contract.
    """
    vectors = np.empty((len(items), encoder.dim), np.float32)
    for places in parts([item.size for item in items], limits):
        part = encoder.forward([items[place] for place in places])
        if part.shape != (expected := (len(places), encoder.dim)):
            raise MeshError(f"the model gave an array of shape {part.shape}, not {expected}")
        vectors[places] = part
    return vectors
