"""What every strategy owes: presence, standardisation, calibration, over one to three modalities.

All that is here holds for each of them; what tells them apart is in test_fusion_learning.
"""

from itertools import product

import pytest
import torch

from services.fusion.frame import Fusion
from services.fusion.model import FUSIONS

DIMS = (3, 2, 4)
HUGE = torch.finfo(torch.float32).max


@pytest.fixture(params=FUSIONS)
def strategy(request: pytest.FixtureRequest) -> str:
    """Each strategy's name."""
    name: str = request.param
    return name


def build(strategy: str, modalities: int = 3) -> Fusion:
    """A head of five classes over the first of DIMS, with random weights."""
    torch.manual_seed(0)
    shape = {"dims": DIMS[:modalities], "classes": 5, "width": 8, "hidden": 8}
    return FUSIONS[strategy]({**shape, "input_dropout": 0.5, "dropout": 0.5}).eval()


@pytest.fixture
def head(strategy: str) -> Fusion:
    """A head of three modalities."""
    return build(strategy).requires_grad_(False)


def examples(count: int, modalities: int = 3) -> torch.Tensor:
    """Random embeddings side by side."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, sum(DIMS[:modalities]), generator=generator)


def masks(modalities: int = 3) -> torch.Tensor:
    """Every subset but the empty one."""
    return torch.tensor([mask for mask in product((0.0, 1.0), repeat=modalities) if any(mask)])


@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_every_subset_has_probabilities(strategy: str, modalities: int) -> None:
    """They are positive and sum to one, whatever is missing and however many there are."""
    present = masks(modalities)
    probabilities = build(strategy, modalities)(examples(len(present), modalities), present)

    assert probabilities.shape == (2**modalities - 1, 5)
    assert (probabilities > 0).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(present)))


def test_every_subset_has_an_answer_of_its_own(head: Fusion) -> None:
    """The same embeddings under another mask are another example."""
    probabilities = head(examples(1).expand(7, -1), masks())

    assert len({tuple(row) for row in probabilities.tolist()}) == 7


@pytest.mark.parametrize("number", [100.0, HUGE, -HUGE])
@pytest.mark.parametrize("place", range(3))
def test_what_stands_in_a_missing_place_has_no_influence(
    head: Fusion, place: int, number: float
) -> None:
    """Not even a number that is too large to compute with."""
    one, other = examples(7), examples(7)
    start = sum(DIMS[:place])
    other[:, start : start + DIMS[place]] = number
    is_missing = masks()[:, place] == 0

    before, after = head(one, masks()), head(other, masks())

    assert torch.equal(before[is_missing], after[is_missing])


@pytest.mark.parametrize("place", range(3))
def test_what_is_present_has_influence(head: Fusion, place: int) -> None:
    """In every subset that it is part of."""
    one, other = examples(7), examples(7)
    start = sum(DIMS[:place])
    other[:, start : start + DIMS[place]] += 1.0
    is_present = masks()[:, place] == 1

    changed = (head(one, masks()) != head(other, masks())).any(1)

    assert torch.equal(changed, is_present)


def test_embeddings_are_standardised_by_the_stored_mean_and_deviation(head: Fusion) -> None:
    """Shifting and scaling the embeddings and the statistics alike changes nothing."""
    before = head(examples(7), masks())

    head.mean.fill_(7.0)
    head.deviation.fill_(3.0)

    assert torch.allclose(head(examples(7) * 3 + 7, masks()), before, atol=1e-5)


def test_a_temperature_softens_its_own_subset_alone(head: Fusion) -> None:
    """Text and audio, of places 0 and 2, are subset 1 + 4."""
    before = head(examples(7), masks())

    head.temperature[0b101] = 2.0
    after = head(examples(7), masks())

    changed = (before != after).any(1)
    assert masks()[changed].tolist() == [[1.0, 0.0, 1.0]]
    assert after[changed].max() < before[changed].max()
    assert torch.equal(before.argmax(1), after.argmax(1))


def test_a_prior_speaks_for_its_own_subset_alone(head: Fusion) -> None:
    """A class that is met e times as often as in training has e times the odds."""
    before = head(examples(7), masks())

    head.log_prior[0b101, 3] = 1.0
    after = head(examples(7), masks())

    changed = (before != after).any(1)
    assert masks()[changed].tolist() == [[1.0, 0.0, 1.0]]
    odds = (after / (1 - after))[changed, 3] / (before / (1 - before))[changed, 3]
    torch.testing.assert_close(odds, torch.tensor([1.0]).exp())


def test_a_temperature_softens_the_logits_and_not_the_prior(head: Fusion) -> None:
    """Whatever the logits are made of, classes are met as often as they are."""
    head.temperature.fill_(4.0)
    head.log_prior[:] = torch.arange(5.0)
    logits = torch.full((7, 5), 8.0)

    calibrated = head.calibrated(logits, masks())

    torch.testing.assert_close(calibrated, torch.arange(2.0, 7.0).expand(7, 5))


def test_calibration_is_computed_in_full(head: Fusion) -> None:
    """Also of logits in half precision."""
    half = torch.randn(7, 5, generator=torch.Generator().manual_seed(2)).bfloat16()
    head.temperature.fill_(3.0)

    calibrated = head.calibrated(half, masks())

    assert calibrated.dtype == torch.float32
    assert torch.equal(calibrated, half.float() / 3)


def test_calibration_is_stored_with_the_weights(head: Fusion, strategy: str) -> None:
    """So a node answers as training left it."""
    head.temperature[0b011] = 3.0
    head.log_prior[0b011] = torch.arange(5.0)
    again = build(strategy)

    again.load_state_dict(head.state_dict())

    assert torch.equal(again(examples(7), masks()), head(examples(7), masks()))


def test_logits_know_no_calibration(head: Fusion) -> None:
    """They are what it is chosen on, and what training's loss takes."""
    head.temperature.fill_(2.0)
    head.log_prior[:] = torch.arange(5.0)
    logits = head.logits(examples(7), masks())

    expected = torch.softmax(logits / 2 + torch.arange(5.0), dim=1)
    torch.testing.assert_close(head(examples(7), masks()), expected)


def test_a_batch_equals_one_by_one(head: Fusion) -> None:
    """Neighbours of other subsets change nothing."""
    together = head(examples(7), masks())

    rows = zip(examples(7).split(1), masks().split(1), strict=True)
    alone = torch.cat([head(embedding, present) for embedding, present in rows])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_half_precision_gives_nearly_the_same_probabilities(head: Fusion) -> None:
    """As a node of bfloat16 computes."""
    full = head(examples(7), masks())
    with torch.autocast("cpu", torch.bfloat16):
        half = head(examples(7), masks())

    torch.testing.assert_close(half, full, rtol=0, atol=0.03)


def test_only_training_feels_dropout(strategy: str) -> None:
    """Two runs of it differ, two answers don't."""
    head = build(strategy)
    served = [head(examples(7), masks()) for _ in range(2)]
    head.train()
    trained = [head(examples(7), masks()) for _ in range(2)]

    assert torch.equal(*served)
    assert not torch.allclose(*trained)


@pytest.mark.parametrize("modalities", [1, 2, 3])
def test_gradients_reach_every_weight(strategy: str, modalities: int) -> None:
    """With all subsets in a batch; concat's stand-in needs one that lacks its modality."""
    head, present = build(strategy, modalities), masks(modalities)

    head.logits(examples(len(present), modalities), present).square().sum().backward()

    still = {name for name, weight in head.named_parameters() if not weight.grad.any()}
    assert still == ({"missing"} if (strategy, modalities) == ("concat", 1) else set())
