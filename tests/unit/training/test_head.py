"""Training of the fusion head, on tables whose classes can be told apart."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from services.fusion.model import ConcatFusion
from training.head import (
    SUBSETS,
    Settings,
    Table,
    accuracies,
    join,
    labels_of,
    new_head,
    set_temperatures,
    subset_logits,
    train,
)

SETTINGS = Settings(16, 16, (0.1, 0.1, 0.1), 0.1, steps=150, per_class=8, learning_rate=1e-2)


def table(dim: int, noise: float, seed: int) -> Table:
    """Many rows of class 0, few of the others; each class around a corner of its own."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.zeros(60, int), np.repeat(np.arange(1, 6), 10)])
    vectors = np.eye(6, dim)[labels] * 3 + noise * rng.normal(size=(len(labels), dim))
    return Table(vectors.astype(np.float32), labels)


TABLES = [table(8, 1.0, seed=1), table(6, 2.0, seed=2), table(7, 1.5, seed=3)]
HELD_OUT = join(
    [table(8, 1.0, seed=4), table(6, 2.0, seed=5), table(7, 1.5, seed=6)],
    50,
    np.random.default_rng(0),
)


@pytest.fixture(scope="module")
def head() -> ConcatFusion:
    """A trained head."""
    return train(TABLES, SETTINGS)


def test_joined_examples_are_uniform_over_the_classes() -> None:
    """As many of each, all their parts of the same class."""
    examples = join([Table(np.float32(t.labels)[:, None], t.labels) for t in TABLES], 4, rng())

    assert examples.shape == (24, 3)
    assert torch.equal(examples, labels_of(examples)[:, None].expand(-1, 3).float())


def rng() -> np.random.Generator:
    """Random numbers that are always the same."""
    return np.random.default_rng(0)


def test_a_head_learns_to_use_every_subset(head: ConcatFusion) -> None:
    """Each is far better than a guess, and all together are the best."""
    found = accuracies(subset_logits(head, HELD_OUT), labels_of(HELD_OUT)).tolist()

    assert len(found) == len(SUBSETS) == 7
    assert min(found) > 0.4
    assert max(found) == found[-1] > 0.85


def test_training_is_reproducible(head: ConcatFusion) -> None:
    """Two runs on one machine give the same head."""
    again = train(TABLES, SETTINGS).state_dict()

    assert all(torch.equal(weight, again[name]) for name, weight in head.state_dict().items())


def test_a_new_head_standardises_by_its_tables() -> None:
    """A dimension that never varies doesn't divide by zero."""
    constant = Table(np.ones((6, 2), np.float32), np.arange(6))
    head = new_head([constant, *TABLES[1:]], SETTINGS)

    assert head.mean[:2].tolist() == [1, 1]
    assert (head.deviation > 0).all()
    assert head.mean[2:8].numpy() == pytest.approx(TABLES[1].vectors.mean(0))


def test_temperatures_make_held_out_probabilities_honest(head: ConcatFusion) -> None:
    """Logits that are twice too large are cooled to the same probabilities as before."""
    logits, labels = subset_logits(head, HELD_OUT), labels_of(HELD_OUT)
    set_temperatures(head, logits, labels)
    before = head.temperature.clone()
    set_temperatures(head, logits * 2, labels)
    ratios = (head.temperature / before)[1:]
    head.temperature.fill_(1.0)

    assert ratios.tolist() == pytest.approx([2.0] * 7, rel=0.03)


def test_each_temperature_is_that_of_its_own_subset(head: ConcatFusion) -> None:
    """The places are those that the head looks them up by."""
    labels = labels_of(HELD_OUT)
    scales = torch.linspace(0.6, 1.8, 7)
    one = subset_logits(head, HELD_OUT)[-1]
    set_temperatures(head, scales[:, None, None] * one, labels)
    found = head.temperature[head.subset_of(SUBSETS)].tolist()
    head.temperature.fill_(1.0)

    assert all(less < more for less, more in pairwise(found))
