"""What a fusion head learns from and is tried on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from mesh.embedding import Modality
from tests.training_parts import column
from training.errors import TrainingError
from training.pool import Examples, Pool, tried

TEXT, IMAGE, AUDIO = Modality
LOG = np.log


def rng() -> np.random.Generator:
    """Pinned."""
    return np.random.default_rng(0)


def drawn(columns: Mapping[Modality, Any], classes: int = 2, **other: Any) -> Examples:
    """Two thousand examples of a pool."""
    settings = {"join": "row", **other}
    return Pool(columns, classes, **settings).draw(2000, rng())


def frequency(examples: Examples, classes: int) -> list[float]:
    """Of each class among the examples."""
    counts = np.bincount(examples.classes, minlength=classes)
    return (counts / counts.sum()).tolist()


def test_rows_are_drawn_as_they_are() -> None:
    """With all that a row has and nothing else: zeros and a mask of 0 where it lacks one."""
    columns = {
        TEXT: column([0, 1, 1], [0, 2, 5]),
        IMAGE: column([1, 0], [2, 3], [[30, 31], [40, 41]]),
    }

    found = drawn(columns)

    rows = torch.cat([found.embeddings, found.present, found.classes[:, None].float()], dim=1)
    assert torch.unique(rows, dim=0).tolist() == [
        [0, 40, 41, 0, 1, 0],
        [1, 0, 0, 1, 0, 0],
        [3, 30, 31, 1, 1, 1],
        [6, 0, 0, 1, 0, 1],
    ]
    kinds = (found.embeddings.dtype, found.present.dtype, found.classes.dtype)
    assert kinds == (torch.float32, torch.float32, torch.int64)


def test_rows_are_drawn_as_often_as_their_classes_are_frequent() -> None:
    """Unless they are balanced, wholly or in part."""
    columns = {TEXT: column([0] * 80 + [1] * 20)}

    assert frequency(drawn(columns), 2) == pytest.approx([0.8, 0.2], abs=0.03)
    assert frequency(drawn(columns, balance=1.0), 2) == pytest.approx([0.5, 0.5], abs=0.03)
    # 0.8^(1/2) : 0.2^(1/2) is 2 : 1.
    assert frequency(drawn(columns, balance=0.5), 2) == pytest.approx([2 / 3, 1 / 3], abs=0.03)


def test_all_copies_of_a_row_are_learned_from() -> None:
    """Beside its one text, any of them."""
    columns = {TEXT: column([0], [4]), AUDIO: column([0, 0, 0], [4, 4, 4], [[1], [2], [3]])}

    found = drawn(columns).embeddings

    assert set(found[:, 0].tolist()) == {5}
    counts = np.bincount(found[:, 1].int(), minlength=4)[1:]
    assert counts == pytest.approx([667, 667, 667], abs=100)


def test_rows_of_a_class_are_joined_from_their_own() -> None:
    """Any text with any picture of the class, whichever rows they are from."""
    columns = {
        TEXT: column([0, 0, 1], vectors=[[1], [2], [3]]),
        IMAGE: column([0, 1, 1], vectors=[[10], [20], [30]]),
    }

    found = drawn(columns, join="class")

    pairs = {(int(n), *v) for n, v in zip(found.classes, found.embeddings.tolist(), strict=True)}
    assert pairs == {(0, 1, 10), (0, 2, 10), (1, 3, 20), (1, 3, 30)}
    assert bool((found.present == 1).all())


def test_joined_examples_are_as_many_of_each_class() -> None:
    """However many rows they are drawn from, and however few are wanted."""
    columns = {TEXT: column([0] * 90 + [1] * 9 + [2])}

    assert frequency(drawn(columns, 3, join="class"), 3) == pytest.approx([1 / 3] * 3)
    assert len(Pool(columns, 3, "class").draw(100, rng()).classes) == 99
    assert Pool(columns, 3, "class").draw(1, rng()).classes.tolist() == [0, 1, 2]


def test_a_class_that_a_modality_lacks_is_joined_without_it() -> None:
    """As zeros, with a mask of 0."""
    columns = {TEXT: column([0, 1]), IMAGE: column([0], vectors=[[7]])}

    found = drawn(columns, join="class")

    lacking = found.classes == 1
    assert found.present[lacking].unique(dim=0).tolist() == [[1, 0]]
    assert not found.embeddings[lacking][:, 1].any()
    assert found.present[~lacking].unique(dim=0).tolist() == [[1, 1]]


@pytest.mark.parametrize("join", ["row", "class"])
def test_draws_depend_on_the_generator_alone(join: str) -> None:
    """The same one gives the same examples, a further draw others."""
    pool = Pool({TEXT: column([0, 1] * 20)}, 2, join)
    generator = rng()

    first, second = pool.draw(30, generator), pool.draw(30, generator)

    assert torch.equal(pool.draw(30, rng()).embeddings, first.embeddings)
    assert not torch.equal(first.embeddings, second.embeddings)


def test_unbalanced_rows_are_met_as_often_as_they_are_drawn() -> None:
    """Nothing is to be expected otherwise."""
    pool = Pool({TEXT: column([0, 0, 0, 1])}, 2, "row")

    assert pool.log_prior((TEXT,)).tolist() == [0, 0]


@pytest.mark.parametrize(("join", "balance"), [("row", 1.0), ("class", 0.0)])
def test_balanced_classes_are_met_by_their_frequency(join: str, balance: float) -> None:
    """Relative to the most frequent one; a class that is met nowhere is left as it is."""
    pool = Pool({TEXT: column([0] + [1] * 4 + [3] * 2)}, 4, join, balance)

    assert pool.log_prior((TEXT,)) == pytest.approx([LOG(1 / 4), 0, 0, LOG(2 / 4)])


def test_half_balanced_classes_are_met_by_the_root_of_their_frequency() -> None:
    """The other half is in the draws already."""
    pool = Pool({TEXT: column([0] + [1] * 4)}, 2, "row", 0.5)

    assert pool.log_prior((TEXT,)) == pytest.approx([LOG(1 / 2), 0])


def test_each_subset_of_rows_has_frequencies_of_its_own() -> None:
    """Those of the rows that have all of it."""
    columns = {TEXT: column([0, 0, 0, 1]), IMAGE: column([0, 1, 1, 1], [2, 3, 4, 5])}
    pool = Pool(columns, 2, "row", 1.0)

    assert pool.log_prior((TEXT,)) == pytest.approx([0, LOG(1 / 3)])
    assert pool.log_prior((IMAGE,)) == pytest.approx([LOG(1 / 3), 0])
    assert pool.log_prior((TEXT, IMAGE)).tolist() == [0, 0]


def test_modalities_that_no_row_has_together_expect_nothing() -> None:
    """Not even a warning."""
    pool = Pool({TEXT: column([0, 1]), IMAGE: column([0], [5])}, 2, "row", 1.0)

    assert pool.log_prior((TEXT, IMAGE)).tolist() == [0, 0]


def test_joined_examples_of_several_modalities_are_uniform() -> None:
    """Nobody knows how often they are met; of one modality the rows tell."""
    pool = Pool({TEXT: column([0, 0, 1]), IMAGE: column([0, 1, 1])}, 2, "class")

    assert pool.log_prior((TEXT, IMAGE)).tolist() == [0, 0]
    assert pool.log_prior((TEXT,)) == pytest.approx([0, LOG(1 / 2)])
    assert pool.log_prior((IMAGE,)) == pytest.approx([LOG(1 / 2), 0])


def test_a_head_is_tried_on_every_subset_that_rows_have() -> None:
    """Each with the rows that have all of it, and with nothing else of theirs."""
    columns = {TEXT: column([0, 1, 1], [0, 2, 5]), IMAGE: column([1, 0], [2, 3])}

    found = tried(columns, ("glad", "sad"), "row", 4)

    assert list(found) == [(TEXT,), (IMAGE,), (TEXT, IMAGE)]
    assert found[TEXT,].embeddings.tolist() == [[1, 0], [3, 0], [6, 0]]
    assert found[TEXT,].present.tolist() == [[1, 0]] * 3
    assert found[IMAGE,].classes.tolist() == [1, 0]
    assert found[TEXT, IMAGE].embeddings.tolist() == [[3, 3]]


def test_a_subset_that_no_row_has_is_not_tried() -> None:
    """There is nothing to score."""
    columns = {TEXT: column([0]), IMAGE: column([1], [1])}

    assert list(tried(columns, ("glad", "sad"), "row", 4)) == [(TEXT,), (IMAGE,)]


def test_joined_examples_are_tried_as_they_are_evaluated() -> None:
    """So many of each class; of one modality, all its rows once."""
    columns = {TEXT: column([0, 0, 1]), IMAGE: column([0, 1, 1])}

    found = tried(columns, ("glad", "sad"), "class", 4)

    assert found[TEXT, IMAGE].classes.tolist() == [0] * 4 + [1] * 4
    assert found[TEXT,].embeddings.tolist() == [[1, 0], [2, 0], [3, 0]]
    texts = found[TEXT, IMAGE].embeddings[:, 0]
    assert set(texts[:4].tolist()) <= {1, 2}
    assert set(texts[4:].tolist()) == {3}


def test_a_class_that_cannot_be_joined_is_refused() -> None:
    """By its name."""
    with pytest.raises(TrainingError, match="no image of the class 'sad'"):
        tried({TEXT: column([0, 1]), IMAGE: column([0])}, ("glad", "sad"), "class", 4)
