"""A trained head's temperatures and priors: how sure its answers are."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from services.fusion.frame import Fusion
from tests.training_parts import column
from tests.unit.training.heads import IMAGE, TEXT, columns, dev, head_of, recipe
from training.head import calibrate, new_head, set_priors, train_head
from training.pool import Examples, Pool


def cross_entropy(head: Fusion, part: Examples) -> float:
    """Of the head's probabilities."""
    probabilities = head(part.embeddings, part.present)
    return float(functional.nll_loss(probabilities.log(), part.classes).detach())


def test_calibration_lowers_an_overconfident_heads_cross_entropy() -> None:
    """In each subset that dev has by a temperature of its own; the classes stay."""
    head = train_head(recipe(), Pool(columns(distance=1.0), 2, "row"), {}, seed=0)
    with torch.no_grad():
        head.classify[-1].weight *= 20
        head.classify[-1].bias *= 20
    part = dev(distance=1.0)
    before = {subset: cross_entropy(head, examples) for subset, examples in part.items()}
    classes = head(part[TEXT,].embeddings, part[TEXT,].present).argmax(1)

    calibrate(head, part)

    assert all(cross_entropy(head, part[subset]) < before[subset] for subset in part)
    assert head.temperature[0] == 1
    assert bool((head.temperature[1:] > 2).all())
    assert torch.equal(head(part[TEXT,].embeddings, part[TEXT,].present).argmax(1), classes)


def test_a_subset_that_dev_lacks_keeps_its_temperature() -> None:
    """Nothing is known of it."""
    head = head_of()

    calibrate(head, {(IMAGE,): dev()[IMAGE,]})

    assert head.temperature[[0, 1, 3]].tolist() == [1, 1, 1]
    assert head.temperature[2] != 1


def test_calibration_finds_the_best_temperature_beside_the_prior() -> None:
    """The one that a search over all of them finds."""
    head = head_of()
    head.log_prior[1] = torch.tensor([0.0, -1.0])
    part = dev()[TEXT,]

    calibrate(head, {(TEXT,): part})

    found = cross_entropy(head, part)
    for temperature in np.linspace(0.1, 10, 60):
        head.temperature[1] = float(temperature)
        assert cross_entropy(head, part) >= found - 1e-3


def test_priors_are_set_for_each_subset() -> None:
    """So far as answers expect the natural frequencies."""
    pool = Pool(
        {TEXT: column([0, 0, 0, 1]), IMAGE: column([0, 1, 1, 1], [2, 3, 4, 5])}, 2, "row", 1.0
    )
    head = new_head(recipe(), pool.columns, 2)

    set_priors(head, pool, 1.0)
    assert head.log_prior.flatten().tolist() == pytest.approx(
        [0, 0, 0, np.log(1 / 3), np.log(1 / 3), 0, 0, 0]
    )

    set_priors(head, pool, 0.5)
    assert head.log_prior[1].tolist() == pytest.approx([0, np.log(1 / 3) / 2])

    set_priors(head, pool, 0.0)
    assert not head.log_prior.any()


def test_a_trained_head_answers_by_its_priors() -> None:
    """As `natural` says; the loss knows nothing of them."""
    given = {
        TEXT: column([0] * 9 + [1], vectors=np.zeros((10, 2))),
        IMAGE: column([0] * 9 + [1], vectors=np.zeros((10, 2))),
    }
    nothing = torch.zeros(1, 4)
    found = {}
    for natural in (0.0, 1.0):
        settings = recipe(natural=natural, class_balance=1.0, batch_size=1000)
        head = train_head(settings, Pool(given, 2, "row", 1.0), {}, seed=0)
        found[natural] = head(nothing, torch.ones(1, 2))[0].tolist()

    assert found[0.0] == pytest.approx([0.5, 0.5], abs=0.05)
    assert found[1.0] == pytest.approx([0.9, 0.1], abs=0.05)
