"""Inputs for an ItemEncoder, and what became of them."""

import time

from mesh.embedding import Embedding
from mesh.errors import MeshError
from mesh.item_encoder import Asked, ItemEncoder
from mesh.places import Caller
from mesh.telemetry import NodeMetrics
from tests.fake_models import PATIENCE


def soon(seconds: float = PATIENCE) -> float:
    """A deadline."""
    return time.monotonic() + seconds


async def encode(items: ItemEncoder, raw: str, deadline: float) -> Embedding:
    """One input's embedding, or its error raised."""
    (outcome,) = await items.encode([Asked(raw, Caller(deadline))])
    if isinstance(outcome, MeshError):
        raise outcome
    return outcome


def dropped(metrics: NodeMetrics, reason: str) -> float:
    """How many items were dropped for a reason."""
    value = metrics.registry.get_sample_value("mesh_items_dropped_total", {"reason": reason})
    return value or 0.0
