"""Matrices in 8 bits, for the openvino engine's int8_dynamic."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mesh.engine import Engine
from mesh.openvino_engine import Setup, openvino_engine
from mesh.openvino_rounding import LEAST, rounded
from tests.unit.mesh.networks import INPUTS, Pooled, openvino_setup
from tests.unit.mesh.networks import engine as small

WORDS = {"ids": torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])}


class Sentences(torch.nn.Module):
    """A table, a linear layer, a product of two matrices that is none of weights, and the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(200, 160)
        self.linear = torch.nn.Linear(160, 192)
        self.last = torch.nn.Parameter(torch.randn(192, 128) / 14)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(items, words) -> (items, 128)."""
        hidden = torch.nn.functional.gelu(self.linear(self.table(ids)))
        scores = torch.softmax(hidden @ hidden.transpose(1, 2) / 192, -1)
        means: torch.Tensor = ((scores @ hidden) @ self.last).mean(1)
        return means


@pytest.fixture
def network() -> Sentences:
    """With random weights."""
    torch.manual_seed(0)
    return Sentences()


@pytest.fixture
def exact(tmp_path: Path) -> Setup:
    """One thread of float32, with a cache."""
    return openvino_setup(tmp_path)


@pytest.fixture
def near(exact: Setup) -> Setup:
    """The same in 8 bits."""
    return replace(exact, dtype="int8_dynamic")


def engine(network: torch.nn.Module, setup: Setup) -> Engine:
    """The network at work."""
    return openvino_engine(lambda: network, WORDS, setup=setup)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_weight_is_off_by_half_a_step_at_most(axis: int) -> None:
    """And each output has its own step, so that a small one is no less exact."""
    weights = np.random.default_rng(0).normal(0.1, 1, (40, 30)).astype(np.float32)
    weights *= np.geomspace(1e-3, 1e3, weights.shape[1 - axis]).reshape(
        (1, -1) if axis == 0 else (-1, 1)
    )
    numbers, zeros, steps = rounded(weights, axis)
    found = (numbers.astype(np.float32) - zeros) * steps
    assert (abs(found - weights) <= steps * 0.5001).all()
    assert (steps <= 2 * abs(weights).max(axis, keepdims=True) / 255).all()


def test_a_weight_of_zero_stays_zero() -> None:
    """Also where all others are above it, or there is nothing else."""
    weights = np.array([[0, 5, 9], [0, 0, 0], [-1, 0, -3]], np.float32)
    numbers, zeros, steps = rounded(weights, axis=1)
    assert (((numbers.astype(np.float32) - zeros) * steps)[weights == 0] == 0).all()


def test_rounded_matrices_are_near_but_not_the_same(
    network: Sentences, exact: Setup, near: Setup
) -> None:
    """In every way that a network has them, and for batches and lengths that it was not given."""
    ids = torch.randint(0, 200, (7, 11))
    one, other = (engine(network, setup)({"ids": ids}) for setup in (exact, near))
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert other.dtype == np.float32
    assert cosines.min() > 0.999
    assert not np.array_equal(one, other)


def test_an_item_is_the_same_in_any_batch(network: Sentences, near: Setup) -> None:
    """What is rounded while the network runs is rounded for each item by itself."""
    run = engine(network, near)
    ids = torch.randint(0, 200, (6, 9))
    alone = np.concatenate([run({"ids": ids[[place]]}) for place in range(len(ids))])
    assert run({"ids": ids}) == pytest.approx(alone, abs=1e-5)


def test_all_large_matrices_are_kept_as_bytes(
    network: Sentences, near: Setup, tmp_path: Path
) -> None:
    """So a start reads a quarter, and needs neither torch nor the network as it was."""
    run = engine(network, near)
    sizes = sorted(file.stat().st_size for file in (tmp_path / "cache").rglob("*.bin"))
    assert len(sizes) == 2
    assert sizes[0] < 0.3 * sizes[1]

    def never() -> torch.nn.Module:
        raise AssertionError("the network was made")

    again = openvino_engine(never, WORDS, setup=near)
    assert np.array_equal(again(WORDS), run(WORDS))


def test_a_network_of_small_matrices_stays_as_it_is(exact: Setup, near: Setup) -> None:
    """To round those would save nothing."""
    network = Pooled()
    assert network.linear.weight.numel() < LEAST
    assert np.array_equal(small(network, near)(INPUTS), small(network, exact)(INPUTS))
