"""Batches that are computed in parts."""

import numpy as np
import pytest

from mesh.errors import MeshError
from mesh.grouping import BatchLimits
from mesh.micro_batching import batch_limits, forward, micro_batch_limits
from mesh.settings import NodeSettings
from tests.fake_models import FakeEncoder

RAWS = ["one", "three", "a", "seventeen letters", "two"]


def test_each_item_gets_its_own_embedding_whatever_part_it_was_in() -> None:
    """In the items' order, though parts go by size."""
    encoder = FakeEncoder()
    items = [encoder.preprocess(raw) for raw in RAWS]
    vectors = forward(encoder, items, BatchLimits(8, 6.0))
    assert encoder.batches == [["seventeen letters"], ["three"], ["one", "two"], ["a"]]
    assert vectors.dtype == np.float32
    assert [vector[0] for vector in vectors] == [len(raw) for raw in RAWS]


def test_no_items_are_no_embeddings() -> None:
    """Of the encoder's dim."""
    assert forward(FakeEncoder(), [], BatchLimits(8, 6.0)).shape == (0, 3)


def test_a_model_that_gives_too_few_breaks_its_contract() -> None:
    """Nobody gets another's embedding."""

    class Short(FakeEncoder):
        def forward(self, items: object) -> np.ndarray:
            return np.zeros((1, 3), np.float32)

    encoder = Short()
    items = [encoder.preprocess(raw) for raw in ("one", "two")]
    with pytest.raises(MeshError, match=r"shape \(1, 3\), not \(2, 3\)"):
        forward(encoder, items, BatchLimits(8, 6.0))


@pytest.mark.parametrize(
    ("batch", "micro", "limits"),
    [(0.0, 0.0, (1000, 1000)), (50.0, 0.0, (50, 50)), (50.0, 9.0, (50, 9))],
)
def test_without_a_limit_of_parts_a_batch_is_one(
    batch: float, micro: float, limits: tuple[float, float]
) -> None:
    """And without one of batches, the encoder's own is taken."""
    settings = NodeSettings(max_batch_cost=batch, micro_batch_cost=micro)
    found = batch_limits(FakeEncoder(), settings), micro_batch_limits(FakeEncoder(), settings)
    assert tuple(one.max_cost for one in found) == limits
