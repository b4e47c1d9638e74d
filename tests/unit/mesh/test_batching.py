"""The Batcher: what runs together, and when."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from mesh.errors import DeadlineExpired, InvalidInput, Unavailable
from tests.fake_models import PATIENCE
from tests.unit.mesh.workbench import Bench, bench, outcomes


@pytest.fixture
async def one() -> AsyncIterator[Bench]:
    """A running Batcher with one worker."""
    made = bench()
    made.batcher.start()
    yield made
    made.worker.gate.open()
    await made.batcher.close(PATIENCE)


class TestBatches:
    """What runs together, and when."""

    async def test_an_item_gets_its_own_result(self, one: Bench) -> None:
        """Of many at once, each its own."""
        assert await outcomes(one.tasks(*range(12))) == [2 * value for value in range(12)]

    async def test_an_idle_worker_starts_at_once(self, one: Bench) -> None:
        """A single item is a batch of one; nothing is waited for."""
        assert await one.submit(1) == 2
        assert one.worker.batches == [[1]]

    async def test_items_of_one_moment_share_a_batch(self, one: Bench) -> None:
        """Also when the worker was idle."""
        await outcomes(one.tasks(1, 2, 3))
        assert one.worker.batches == [[1, 2, 3]]

    async def test_what_came_while_the_worker_was_busy_is_the_next_batch(self, one: Bench) -> None:
        """Up to max_items, the oldest first."""
        first = await one.occupy()
        tasks = await one.queue(*range(10))
        one.worker.gate.open()
        await outcomes([first, *tasks])
        assert one.worker.batches == [[0.5], [*range(8)], [8, 9]]

    async def test_a_batch_is_limited_by_cost(self, one: Bench) -> None:
        """Two items of 40 cost 80, a third would be over 100."""
        first = await one.occupy()
        tasks = await one.queue(1, 2, 3, size=40)
        one.worker.gate.open()
        await outcomes([first, *tasks])
        assert one.worker.batches == [[0.5], [1, 2], [3]]

    async def test_like_sizes_go_together_and_the_oldest_first(self, one: Bench) -> None:
        """The odd one out waits for one batch, not for ever."""
        first = await one.occupy()
        tasks = [*await one.queue(1, size=5), *await one.queue(2, size=50)]
        tasks += await one.queue(3, 4, size=5)
        one.worker.gate.open()
        await outcomes([first, *tasks])
        assert one.worker.batches == [[0.5], [1, 3, 4], [2]]

    async def test_an_odd_size_never_starves(self, one: Bench) -> None:
        """Once it is the oldest it goes, however many of another size came after it."""
        first = await one.occupy()
        odd = await one.queue(1, size=90)
        others = await one.queue(*range(100, 130), size=5)
        one.worker.gate.open()
        await outcomes([first, *odd, *others])
        assert one.worker.batches[1] == [1]

    async def test_every_worker_is_fed(self) -> None:
        """While one is busy, the next item goes to the other."""
        two = bench(workers=2)
        two.batcher.start()
        for worker in two.workers:
            worker.gate.shut()
        tasks = two.tasks(1)
        await two.workers[0].gate.arrival()
        tasks += two.tasks(2)
        await two.workers[1].gate.arrival()
        assert [worker.batches for worker in two.workers] == [[[1]], [[2]]]
        for worker in two.workers:
            worker.gate.open()
        assert await outcomes(tasks) == [2, 4]
        await two.batcher.close(PATIENCE)

    async def test_batches_and_waits_are_told(self, one: Bench) -> None:
        """A number of items for each batch, a wait for each item."""
        await outcomes(one.tasks(1, 2, 3))
        assert one.notes.batches == [3]
        assert len(one.notes.waits) == 3
        assert one.notes.drops == []


class TestClosing:
    """What becomes of those that are there."""

    async def test_closing_answers_also_those_whose_items_never_came(self) -> None:
        """After the grace."""
        closing = bench()
        closing.batcher.start()
        with closing.reserve(1) as [place]:
            await closing.batcher.close(0.01)
            assert isinstance(await place.outcome, Unavailable)


class TestTogether:
    """All of it at once."""

    @pytest.mark.parametrize("seed", range(5))
    async def test_under_a_storm_everyone_gets_exactly_their_own_outcome(self, seed: int) -> None:
        """Whoever leaves, expires or breaks: no result is lost, mixed up or computed twice."""
        storm, chance = bench(workers=3, max_held=500), random.Random(seed)
        storm.batcher.start()
        values = [13 if chance.random() < 0.05 else float(n) for n in range(1000, 1400)]
        tasks = []
        for value in values:
            size, seconds = chance.choice([1, 5, 40, 200]), chance.choice([-1, 0.001, PATIENCE])
            tasks.append(asyncio.create_task(storm.submit(value, size, seconds)))
            if chance.random() < 0.2:
                chance.choice(tasks).cancel()
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        for value, outcome in zip(values, await outcomes(tasks), strict=True):
            expected = (DeadlineExpired, asyncio.CancelledError, InvalidInput)
            assert outcome == 2 * value or isinstance(outcome, expected)
        await storm.batcher.close(PATIENCE)
        ran = [value for worker in storm.workers for batch in worker.batches for value in batch]
        whole = [value for value in ran if value != 13]
        # A batch with a broken item is run again, one by one; never more often than that.
        assert all(whole.count(value) <= 2 for value in whole)
