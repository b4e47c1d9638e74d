"""The concat head: presence, standardisation, temperatures."""

from itertools import product

import pytest
import torch

from services.fusion.model import FUSIONS, ConcatFusion, FusionShape

DIMS = (3, 2, 4)
MASKS = torch.tensor([mask for mask in product((0.0, 1.0), repeat=3) if any(mask)])


@pytest.fixture
def head() -> ConcatFusion:
    """A head of three modalities and five classes with random weights."""
    torch.manual_seed(0)
    shape = FusionShape(DIMS, 5, width=8, hidden=8, input_dropout=(0.5, 0.5, 0.5), dropout=0.5)
    return ConcatFusion(shape).eval().requires_grad_(False)


def examples(count: int) -> torch.Tensor:
    """Random embeddings side by side."""
    return torch.randn(count, sum(DIMS), generator=torch.Generator().manual_seed(1))


def test_every_subset_has_probabilities(head: ConcatFusion) -> None:
    """They are positive and sum to one, whatever is missing."""
    probabilities = head(examples(len(MASKS)), MASKS)

    assert probabilities.shape == (7, 5)
    assert (probabilities > 0).all()
    assert probabilities.sum(1).tolist() == pytest.approx([1.0] * 7)


def test_every_subset_has_an_answer_of_its_own(head: ConcatFusion) -> None:
    """The same embeddings under another mask are another example."""
    probabilities = head(examples(1).expand(7, -1), MASKS)

    assert len({tuple(row) for row in probabilities.tolist()}) == 7


@pytest.mark.parametrize("place", range(3))
def test_what_stands_in_a_missing_place_has_no_influence(head: ConcatFusion, place: int) -> None:
    """A missing modality's numbers change nothing, a present one's do."""
    one, other = examples(1), examples(1)
    start = sum(DIMS[:place])
    other[:, start : start + DIMS[place]] += 100.0
    without = torch.ones(1, 3)
    without[0, place] = 0

    assert torch.equal(head(one, without), head(other, without))
    assert not torch.allclose(head(one, torch.ones(1, 3)), head(other, torch.ones(1, 3)))


def test_embeddings_are_standardised_by_the_stored_mean_and_deviation(head: ConcatFusion) -> None:
    """Shifting and scaling the embeddings and the statistics alike changes nothing."""
    mask = torch.ones(4, 3)
    before = head(examples(4), mask)

    head.mean.fill_(7.0)
    head.deviation.fill_(3.0)

    assert torch.allclose(head(examples(4) * 3 + 7, mask), before, atol=1e-6)


def test_a_temperature_softens_its_own_subset_alone(head: ConcatFusion) -> None:
    """Text and audio, of places 0 and 2, are subset 1 + 4."""
    embeddings = examples(7)
    before = head(embeddings, MASKS)

    head.temperature[0b101] = 2.0
    after = head(embeddings, MASKS)

    changed = (before != after).any(1)
    assert MASKS[changed].tolist() == [[1.0, 0.0, 1.0]]
    assert after[changed].max() < before[changed].max()
    assert torch.equal(before.argmax(1), after.argmax(1))


def test_the_registry_builds_a_head_from_a_config() -> None:
    """Its names are FusionShape's."""
    model = {"width": 4, "hidden": 4, "input_dropout": [0, 0], "dropout": 0.1}
    head = FUSIONS["concat"]({"dims": [2, 3], "classes": 3, **model}).eval()

    assert head(torch.zeros(1, 5), torch.ones(1, 2)).shape == (1, 3)
