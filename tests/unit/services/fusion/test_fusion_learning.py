"""Whether a strategy combines modalities, or only adds up what each of them says."""

from typing import NamedTuple

import pytest
import torch
from torch.nn import functional

from services.fusion.frame import Fusion
from services.fusion.model import FUSIONS

DIM = 3
BOTH, FIRST, SECOND = [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]
SUBSETS = torch.tensor([BOTH, FIRST, SECOND])


class Batch(NamedTuple):
    """Embeddings of two modalities side by side, and their classes."""

    embeddings: torch.Tensor
    labels: torch.Tensor


def draw(count: int, generator: torch.Generator) -> Batch:
    """Examples whose class is whether the first numbers of both modalities have one sign."""
    embeddings = torch.randn(count, 2 * DIM, generator=generator)
    return Batch(embeddings, (embeddings[:, 0] * embeddings[:, DIM] > 0).long())


@pytest.fixture(scope="module", params=FUSIONS)
def head(request: pytest.FixtureRequest) -> Fusion:
    """A head of each strategy after 200 steps on all subsets of both modalities."""
    torch.manual_seed(0)
    shape = {"dims": [DIM, DIM], "classes": 2, "width": 32, "hidden": 32}
    head = FUSIONS[request.param]({**shape, "input_dropout": 0.0, "dropout": 0.0})
    optimizer = torch.optim.AdamW(head.parameters(), 5e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(200):
        batch = draw(128, generator)
        present = SUBSETS[torch.randint(3, (128,), generator=generator)]
        loss = functional.cross_entropy(head.logits(batch.embeddings, present), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head.eval().requires_grad_(False)


def accuracy(head: Fusion, present: list[float]) -> float:
    """On examples that no training has seen."""
    batch = draw(1000, torch.Generator().manual_seed(2))
    predicted = head(batch.embeddings, torch.tensor(present).expand(1000, -1)).argmax(1)
    return float((predicted == batch.labels).float().mean())


def test_a_class_that_only_both_modalities_tell_is_learned(head: Fusion) -> None:
    """By the mean too, if later: projections can keep to units of their own, and an MLP follows."""
    assert accuracy(head, BOTH) > 0.85


@pytest.mark.parametrize("present", [FIRST, SECOND])
def test_no_modality_tells_it_alone(head: Fusion, present: list[float]) -> None:
    """The same head can do no better than a guess."""
    assert accuracy(head, present) == pytest.approx(0.5, abs=0.07)
