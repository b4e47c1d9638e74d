"""Embeddings for training, computed by what serves."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.fake_models import FakeEncoder
from training.embed import batches, embed, embed_cached


class Sized(NamedTuple):
    """An item of some size."""

    size: float
    truncated: bool = False


def test_batches_hold_every_item_once_and_stay_within_the_encoders_limit() -> None:
    """Items times the largest of them; one that is over it by itself goes alone."""
    items = [Sized(size) for size in (5, 1, 9, 2, 30, 2, 7)]

    found = list(batches(items, max_batch_size=20))

    assert [[items[row].size for row in batch] for batch in found] == [[1, 2, 2, 5], [7, 9], [30]]
    assert sorted(row for batch in found for row in batch) == list(range(7))


def test_no_items_make_no_batches() -> None:
    """Not even an empty one."""
    assert list(batches([], max_batch_size=20)) == []


def test_embeddings_come_in_the_inputs_order() -> None:
    """Although they are computed by size."""
    encoder = FakeEncoder()
    inputs = ["a longer one", "b", "middle"]

    alone = [encoder.forward([encoder.preprocess(raw)])[0] for raw in inputs]

    assert embed(encoder, inputs) == pytest.approx(np.stack(alone))


def test_embeddings_are_computed_once_for_the_same_version_and_inputs(tmp_path: Path) -> None:
    """Another version or another input is computed anew."""
    encoder, cache = FakeEncoder(version="sha256:" + "1" * 64), tmp_path / "cache"
    vectors = embed_cached(encoder, ["a", "bb"], cache)
    (file,) = cache.iterdir()
    np.save(file, vectors + 1)

    assert np.array_equal(embed_cached(encoder, ["a", "bb"], cache), vectors + 1)
    assert np.array_equal(embed_cached(FakeEncoder(), ["a", "bb"], cache), vectors)
    assert np.array_equal(embed_cached(encoder, ["bb", "a"], cache), vectors[::-1])
