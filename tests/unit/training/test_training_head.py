"""Training of a fusion head: its loss, what it learns, and what is kept of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from mesh.embedding import Modality
from services.fusion.auxiliary import AuxiliaryHeads
from services.fusion.model import FUSIONS
from tests.training_parts import column
from tests.unit.training.heads import IMAGE, LABELS, TEXT, columns, dev, head_of, recipe, rng, some
from training.config import ConfigError
from training.head import (
    loss_of,
    macro_f1,
    new_head,
    shape_entries,
    stored_weights,
    thinned,
    train_head,
)
from training.joining import Column
from training.pool import Examples, Pool, tried


def test_a_head_standardises_by_its_columns() -> None:
    """Each number by its own mean and deviation; one that hardly varies, by a share of theirs."""
    given = {
        TEXT: column([0, 1], vectors=[[1, 5], [3, 5]]),
        Modality.AUDIO: column([0], vectors=[[4]]),
    }

    head = new_head(recipe(), given, 2)

    assert head.mean.tolist() == [2, 5, 4]
    # A hundredth of the mean of 1 and 0; a single recording doesn't vary at all.
    assert head.deviation.tolist() == pytest.approx([1, 0.01 / 2, 1e-6])


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"depth": 3}, "fusion.model: .*depth, which is none of dims, classes, width"),
        ({"width": "wide"}, "fusion.model: "),
        ({"input_dropout": [0.1]}, "fusion.model: input_dropout: 1 for 2 modalities"),
        ({"dropout": 2.0}, "fusion.model: dropout probability"),
    ],
)
def test_what_does_not_fit_the_strategy_is_refused_by_its_name(
    model: dict[str, Any], reason: str
) -> None:
    """A key that it doesn't have, and a value that it can't use."""
    with pytest.raises(ConfigError, match=reason):
        new_head(recipe(model=model), columns(), 2)


def test_modality_dropout_leaves_so_many_out() -> None:
    """Of what is there, and of nothing else."""
    present = torch.ones(4000, 3)
    present[:, 2] = 0

    kept = thinned(present, 0.5, rng())

    assert not kept[:, 2].any()
    # A half, and again a half of the quarter of the examples that would have lost both.
    assert kept[:, :2].mean(0).tolist() == pytest.approx([5 / 8, 5 / 8], abs=0.03)


def test_every_example_keeps_one_of_its_modalities() -> None:
    """Whichever it has, and however many are left out; each as often."""
    present = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]).repeat(500, 1)

    kept = thinned(present, 0.999, rng())

    assert bool((kept.sum(1) >= 1).all())
    assert bool((kept <= present).all())
    assert kept[1::2, 1].mean() == pytest.approx(0.5, abs=0.1)


def test_nothing_is_left_out_unless_told() -> None:
    """The mask comes back."""
    assert torch.equal(thinned(some().present, 0.0, rng()), some().present)


@pytest.mark.parametrize("strategy", FUSIONS)
def test_absent_content_has_no_influence_on_the_loss(strategy: str) -> None:
    """Neither on the fused one nor on those of the modalities' own heads."""
    head, examples = head_of(strategy=strategy), some()
    auxiliary = AuxiliaryHeads(head.shape)
    other = examples.embeddings.clone()
    other[0, 3:], other[1, :3] = 1e4, -1e4

    losses = [
        loss_of(head, auxiliary, examples._replace(embeddings=e), recipe(), rng())
        for e in (examples.embeddings, other)
    ]

    assert torch.equal(*losses)


def test_the_loss_is_the_fused_one_and_the_modalities_own() -> None:
    """The latter by their weight, in the mean over what is present, also where it was left out."""
    head, examples = head_of(), some(3)
    auxiliary = AuxiliaryHeads(head.shape)
    settings = recipe(auxiliary=0.5, modality_dropout=0.9)
    left = thinned(examples.present, 0.9, rng())

    loss = loss_of(head, auxiliary, examples, settings, rng())

    fused = functional.cross_entropy(head.logits(examples.embeddings, left), examples.classes)
    own = auxiliary(head.projected(examples.embeddings))
    pairs = [(0, 0), (1, 1), (2, 0), (2, 1)]
    alone = [functional.cross_entropy(own[n, m], examples.classes[n]) for n, m in pairs]
    expected = fused + 0.5 * torch.stack(alone).mean()
    torch.testing.assert_close(loss, expected)


def test_the_macro_f1_is_the_mean_over_the_subsets() -> None:
    """However many examples each has, and every class counts the same."""
    head, part = head_of(), dev()[TEXT,]
    with torch.no_grad():
        head.classify[-1].bias += torch.tensor([100.0, 0.0])
    glad = Examples(*(tensor[part.classes == 0] for tensor in part))

    # Of a half of each class, one is found with F1 2/3 and the other not.
    assert macro_f1(head, {(TEXT,): part}) == pytest.approx((2 / 3 + 0) / 2)
    assert macro_f1(head, {(TEXT,): part, (IMAGE,): glad}) == pytest.approx((1 / 3 + 1) / 2)


@pytest.mark.parametrize("strategy", FUSIONS)
def test_each_strategy_learns_what_the_modalities_tell(strategy: str) -> None:
    """In every subset of them, and comes ready to serve."""
    pool = Pool(columns(), 2, "row")

    head = train_head(recipe(strategy=strategy), pool, dev(), seed=0)

    assert not head.training
    assert macro_f1(head, dev()) > 0.9
    assert all(macro_f1(head, {subset: part}) > 0.85 for subset, part in dev().items())


def test_the_same_seed_gives_the_same_weights() -> None:
    """Whatever was drawn before; another seed gives others."""
    pool = Pool(columns(), 2, "class")
    heads = [train_head(recipe(steps=5), pool, dev(), seed=seed) for seed in (3, 3, 4)]
    first, again, other = (head.state_dict() for head in heads)

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classify.1.weight"], other["classify.1.weight"])


def test_the_head_that_did_best_on_dev_is_kept() -> None:
    """Not the last one: here training goes on towards classes that are exchanged."""
    wrong = {m: Column(c.places, 1 - c.labels, c.groups, c.vectors) for m, c in columns().items()}
    pool = Pool(wrong, 2, "row")
    scores = [
        macro_f1(train_head(recipe(learning_rate=5e-3), pool, part, seed=0), dev())
        for part in (dev(), {})
    ]

    assert scores[1] < 0.2 < scores[0]


def test_known_rows_are_learned_from_first() -> None:
    """What new ones leave open stays as it was learned from them; in no more steps than told."""
    known, nothing = Pool(columns(), 2, "row"), Pool(columns(distance=0.0), 2, "row")
    scores = [
        macro_f1(train_head(recipe(steps=40, known_steps=steps), nothing, {}, 0, known), dev())
        for steps in (0, 39)
    ]

    assert scores[0] < 0.7
    assert scores[1] > 0.9


def test_a_head_of_the_known_rows_alone_is_not_chosen() -> None:
    """However well it does on dev: what follows is what it must not do without."""
    wrong = {m: Column(c.places, 1 - c.labels, c.groups, c.vectors) for m, c in columns().items()}
    pools = Pool(wrong, 2, "row"), Pool(columns(), 2, "row")
    settings = recipe(steps=300, known_steps=30)

    assert macro_f1(train_head(settings, pools[0], dev(), 0, pools[1]), dev()) < 0.2


def test_a_head_without_dev_is_the_last_and_not_calibrated() -> None:
    """Its temperatures are 1."""
    head = train_head(recipe(), Pool(columns(), 2, "row"), {}, seed=0)

    assert macro_f1(head, dev()) > 0.9
    assert bool((head.temperature == 1).all())


@pytest.mark.parametrize("strategy", FUSIONS)
def test_a_heads_entries_and_stored_weights_build_its_like(strategy: str) -> None:
    """With the dims and classes that an artifact has elsewhere; but for half precision."""
    head = head_of(strategy=strategy)
    weights = stored_weights(head)

    again = FUSIONS[strategy]({"dims": [3, 3], "classes": 2, **shape_entries(head)})
    again.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})

    learned = {name for name, _ in head.named_parameters()}
    kinds = {(name in learned, array.dtype) for name, array in weights.items()}
    assert kinds == {(True, np.dtype(np.float16)), (False, np.dtype(np.float32))}
    part = some()
    torch.testing.assert_close(
        again.eval()(part.embeddings, part.present),
        head(part.embeddings, part.present),
        rtol=0,
        atol=2e-3,
    )


def test_features_of_any_scale_are_stored_as_they_were_learned() -> None:
    """Half precision could hold neither a mean of a million nor a small spread around it."""
    near = {
        modality: replace(column, vectors=(1e6 * (7 + column.vectors)).astype(np.float32))
        for modality, column in columns().items()
    }
    head = train_head(recipe(), Pool(near, 2, "row"), {}, seed=0)
    again = new_head(recipe(), near, 2)
    weights = {name: torch.from_numpy(array) for name, array in stored_weights(head).items()}
    again.load_state_dict(weights)
    part = tried(near, LABELS, "row", 10)[TEXT, IMAGE]

    found = again.eval()(part.embeddings, part.present)
    torch.testing.assert_close(found, head(part.embeddings, part.present), rtol=0, atol=0)
    assert torch.isfinite(found).all()
