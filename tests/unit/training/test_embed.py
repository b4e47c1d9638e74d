"""Embeddings for training, computed by what serves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import pytest
import torch

from mesh.encoding import Raw
from tests.fake_models import FakeEncoder
from training import embed as embedding
from training.embed import batches, embed, embed_cached, engine


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


def test_a_cache_holds_no_half_written_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends while it writes leaves the work to the next one."""

    def stop(file: Any, vectors: np.ndarray) -> None:
        (file if hasattr(file, "write") else file.open("wb")).write(b"\x93NUMPY")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embedding.np, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            embed_cached(FakeEncoder(), ["a"], tmp_path)

    assert np.array_equal(embed_cached(FakeEncoder(), ["a"], tmp_path), [[1, ord("a"), 1]])


class Read(Sequence[Raw]):
    """Texts that are made when asked for, and seen to be let go of."""

    def __init__(self, numbers: range, log: list[int]) -> None:
        self._numbers = numbers
        self._log = log

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, number: int) -> Raw: ...

    @overload
    def __getitem__(self, number: slice) -> "Read": ...

    def __getitem__(self, number: int | slice) -> "Raw | Read":
        if isinstance(number, slice):
            return Read(self._numbers[number], self._log)
        self._log.append(self._numbers[number])
        return str(self._numbers[number])


def test_inputs_are_asked_for_as_they_are_preprocessed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of them at a time, so that a split need not fit into memory."""
    monkeypatch.setattr(embedding, "CHUNK", 4)
    log: list[int] = []
    asked_before_a_batch: list[int] = []

    class Watching(FakeEncoder):
        def forward(self, items: Sequence[Any]) -> Any:
            asked_before_a_batch.append(len(log))
            return super().forward(items)

    embed(Watching(), Read(range(10), log))

    assert log == list(range(10))
    assert asked_before_a_batch == [4, 8, 10]


def test_the_engine_is_exact_whatever_the_mesh_runs_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the first device alone; another one may not even be there."""
    monkeypatch.setenv("MESH_DTYPE", "bfloat16")
    monkeypatch.setenv("MESH_DEVICES", "cpu,cuda:99")
    monkeypatch.setenv("MESH_THREADS", "1")
    third = {"input": torch.tensor([[1 / 3]])}
    times = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(times.weight)

    run = engine()(lambda: times, third)

    assert run(third)[0, 0] == np.float32(1 / 3)


def test_a_setting_that_can_not_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a node names it."""
    monkeypatch.setenv("MESH_THREADS", "many")

    with pytest.raises(SystemExit, match="MESH_THREADS"):
        engine()
