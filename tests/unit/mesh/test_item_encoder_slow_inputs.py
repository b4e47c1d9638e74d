"""A slow input: its neighbours in a call, and the thread that it holds."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from mesh.embedding import Embedding
from mesh.encoding import Raw
from mesh.errors import DeadlineExpired
from mesh.item_encoder import Asked, ItemEncoder
from mesh.places import Caller
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics
from tests.fake_models import PATIENCE, FakeEncoder, FakeItem
from tests.unit.mesh.asking import dropped, encode, soon


class Watched(FakeEncoder):
    """Tells what it preprocesses, and holds the thread that does "slow"."""

    def __init__(self) -> None:
        super().__init__()
        self.preprocessed: list[Raw] = []

    def preprocess(self, raw: Raw) -> FakeItem:
        """Wait at the gate with "slow" alone."""
        self.preprocessed.append(raw)
        if raw == "slow":
            self.gate.pass_through()
        return super().preprocess(raw)

    def forward(self, items: Sequence[FakeItem]) -> npt.NDArray[np.float32]:
        """Without a gate."""
        return np.zeros((len(items), 3), np.float32)


@pytest.fixture
async def watched(metrics: NodeMetrics) -> AsyncIterator[tuple[ItemEncoder, Watched]]:
    """One thread, whose gate is shut."""
    model = Watched()
    made = ItemEncoder([model], NodeSettings(threads=1), metrics)
    made.start()
    model.gate.shut()
    yield made, model
    model.gate.open()
    await made.close(PATIENCE)


async def test_a_slow_input_of_a_call_makes_none_of_its_neighbours_late(
    watched: tuple[ItemEncoder, Watched],
) -> None:
    """It expires alone, while it is still being preprocessed."""
    asked = [Asked("quick", Caller(soon())), Asked("slow", Caller(soon(0.2)))]
    quick, slow = await watched[0].encode(asked)
    assert isinstance(quick, Embedding)
    assert isinstance(slow, DeadlineExpired)


async def test_a_call_that_is_cancelled_takes_its_thread_no_further(
    watched: tuple[ItemEncoder, Watched], metrics: NodeMetrics
) -> None:
    """What it has begun it finishes; the rest is for nobody."""
    items, model = watched
    asked = [Asked(raw, Caller(soon())) for raw in ("slow", "b")]
    call = asyncio.create_task(items.encode(asked))
    await model.gate.arrival()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    model.gate.open()
    await encode(items, "next", soon())
    assert model.preprocessed == ["slow", "next"]
    assert dropped(metrics, "cancelled") == 2
