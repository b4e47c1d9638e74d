"""The Batcher: what never reaches a worker."""

import math
from collections.abc import AsyncIterator

import pytest

from mesh.errors import DeadlineExpired, Overloaded
from tests.fake_models import PATIENCE
from tests.unit.mesh.workbench import Bench, bench, outcomes, settled


@pytest.fixture
async def one() -> AsyncIterator[Bench]:
    """A running Batcher with one worker."""
    made = bench()
    made.batcher.start()
    yield made
    made.worker.gate.open()
    await made.batcher.close(PATIENCE)


class TestDrops:
    """What never reaches a worker."""

    async def test_a_cancelled_item_is_dropped_before_the_worker_and_counted(
        self, one: Bench
    ) -> None:
        """Its neighbours in the queue are not touched."""
        first = await one.occupy()
        gone, stays = await one.queue(1, 2)
        gone.cancel()
        await settled()
        one.worker.gate.open()
        assert await outcomes([first, stays]) == [1, 4]
        assert one.worker.batches == [[0.5], [2]]
        assert one.notes.drops == ["cancelled"]

    async def test_a_caller_that_leaves_during_its_batch_harms_nobody(self, one: Bench) -> None:
        """The others get their results, and since the model saw it, it is not counted."""
        one.worker.gate.shut()
        gone, stays = one.tasks(1, 2)
        await one.worker.gate.arrival()
        gone.cancel()
        await settled()
        one.worker.gate.open()
        assert await outcomes([stays]) == [4]
        assert one.notes.drops == []

    async def test_an_item_expires_while_the_worker_is_busy(self, one: Bench) -> None:
        """Its caller hears of it at the deadline, not when the worker is free."""
        first = await one.occupy()
        with pytest.raises(DeadlineExpired):
            await one.submit(1, seconds=0.01)
        one.worker.gate.open()
        await outcomes([first])
        assert one.worker.batches == [[0.5]]
        assert one.notes.drops == ["expired"]

    @pytest.mark.parametrize("seconds", [0.0, -5.0, -math.inf])
    async def test_an_item_whose_time_is_over_never_reaches_an_idle_worker(
        self, one: Bench, seconds: float
    ) -> None:
        """It is refused and counted."""
        with pytest.raises(DeadlineExpired):
            await one.submit(1, seconds=seconds)
        assert one.worker.batches == []
        assert one.notes.drops == ["expired"]

    async def test_a_full_node_refuses_at_once_and_serves_the_rest(self) -> None:
        """Every place counts, whether its item waits or runs."""
        small = bench(max_held=3)
        small.batcher.start()
        first = await small.occupy()
        waiting = await small.queue(1, 2)
        with pytest.raises(Overloaded):
            await small.submit(3)
        small.worker.gate.open()
        assert await outcomes([first, *waiting]) == [1, 2, 4]
        assert await small.submit(4) == 8
        assert small.notes.drops == ["overloaded"]
        await small.batcher.close(PATIENCE)

    async def test_a_place_counts_while_its_item_is_still_preprocessed(self) -> None:
        """So overload is refused before preprocessing, and a place that is left is free again."""
        small = bench(max_held=1)
        small.batcher.start()
        with small.reserve(1), pytest.raises(Overloaded):
            await small.submit(1)
        assert await small.submit(2) == 4
        await small.batcher.close(PATIENCE)
