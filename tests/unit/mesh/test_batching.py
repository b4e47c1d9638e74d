"""The Batcher, on a real loop and real threads, with workers that the tests can hold."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field

import pytest

from mesh.batching import Batcher
from mesh.errors import DeadlineExpired, InvalidInput, MeshError, Overloaded, Unavailable
from mesh.grouping import BatchLimits
from tests.fake_models import PATIENCE, Gate


@dataclass(frozen=True)
class Number:
    """An item; the worker gives back its double."""

    value: float
    size: float = 1.0


@dataclass
class Doubler:
    """A worker: doubles, refuses 13, chokes on 666, and dies of infinity."""

    gate: Gate = field(default_factory=Gate)
    batches: list[list[float]] = field(default_factory=list)
    lost: int = 0

    def __call__(self, items: Sequence[Number]) -> Sequence[float]:
        """Double a batch."""
        self.batches.append([item.value for item in items])
        self.gate.pass_through()
        for item in items:
            self._check(item.value)
        return [2 * item.value for item in items[self.lost :]]

    def _check(self, value: float) -> None:
        if value == 13:
            raise InvalidInput("unlucky")
        if value == 666:
            raise RuntimeError("choked")
        if math.isinf(value):
            raise SystemExit(1)


@dataclass
class Notes:
    """An observer that keeps what it is told."""

    batches: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    drops: list[str] = field(default_factory=list)

    def ran(self, items: int, seconds: float) -> None:
        """Keep a batch."""
        self.batches.append(items)

    def waited(self, seconds: float) -> None:
        """Keep a wait."""
        self.waits.append(seconds)

    def dropped(self, reason: str) -> None:
        """Keep a drop."""
        self.drops.append(reason)


@dataclass
class Bench:
    """A Batcher with one or more Doublers, and what it told."""

    workers: list[Doubler]
    notes: Notes
    batcher: Batcher[Number, float]

    @property
    def worker(self) -> Doubler:
        """The first worker."""
        return self.workers[0]

    async def submit(self, value: float, size: float = 1.0, seconds: float = PATIENCE) -> float:
        """One item, all the way."""
        with self.batcher.reserve() as submit:
            return await submit(Number(value, size), time.monotonic() + seconds)

    def tasks(self, *values: float, size: float = 1.0) -> list[asyncio.Task[float]]:
        """Many items at once."""
        return [asyncio.create_task(self.submit(value, size)) for value in values]

    async def occupy(self) -> asyncio.Task[float]:
        """Hold a worker inside a batch of its own."""
        for worker in self.workers:
            worker.gate.shut()
        [task] = self.tasks(0.5)
        await self.worker.gate.arrival()
        return task

    async def queue(self, *values: float, size: float = 1.0) -> list[asyncio.Task[float]]:
        """Items that wait behind an occupied worker."""
        tasks = self.tasks(*values, size=size)
        await settled()
        return tasks


async def settled() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def bench(
    workers: int = 1, max_items: int = 8, max_cost: float = 100.0, max_held: int = 64
) -> Bench:
    """A Batcher that has not started."""
    doublers, notes = [Doubler() for _ in range(workers)], Notes()
    limits = BatchLimits(max_items, max_cost)
    return Bench(doublers, notes, Batcher(doublers, limits, max_held, notes))


@pytest.fixture
async def one() -> AsyncIterator[Bench]:
    """A running Batcher with one worker."""
    made = bench()
    made.batcher.start()
    yield made
    made.worker.gate.open()
    await made.batcher.close(PATIENCE)


async def outcomes(tasks: Sequence[Awaitable[float]]) -> list[float | BaseException]:
    """Results and errors, in order."""
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*tasks, return_exceptions=True)


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
        with small.batcher.reserve(), pytest.raises(Overloaded):
            await small.submit(1)
        assert await small.submit(2) == 4
        await small.batcher.close(PATIENCE)


class TestFailures:
    """Who hears of a failure."""

    async def test_one_broken_item_fails_alone(self, one: Bench) -> None:
        """Its neighbours of the same batch get their results, and it gets our fault's code."""
        *good, broken = await outcomes(one.tasks(1, 2, 666))
        assert good == [2, 4]
        assert isinstance(broken, MeshError)
        assert broken.code == "INTERNAL"
        assert "choked" not in broken.message

    async def test_an_error_of_the_mesh_reaches_its_caller_as_it_is(self, one: Bench) -> None:
        """A model may refuse an item by itself."""
        good, refused = await outcomes(one.tasks(1, 13))
        assert good == 2
        assert isinstance(refused, InvalidInput)

    async def test_a_worker_goes_on_after_a_failure(self, one: Bench) -> None:
        """The next batch is served."""
        await outcomes(one.tasks(666, 666))
        assert await one.submit(4) == 8

    async def test_a_model_that_tries_to_end_the_process_fails_like_any_other(
        self, one: Bench
    ) -> None:
        """SystemExit on a worker's thread is that item's failure."""
        ended, good = await outcomes(one.tasks(math.inf, 1))
        assert isinstance(ended, MeshError)
        assert good == 2

    async def test_too_few_results_fail_every_item_rather_than_mix_them_up(
        self, one: Bench
    ) -> None:
        """Nobody gets another's result."""
        one.worker.lost = 1
        failures = await outcomes(one.tasks(1, 2))
        assert all(isinstance(failure, MeshError) for failure in failures)

    async def test_a_broken_observer_costs_one_batch_and_not_the_worker(
        self, one: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its callers are answered with an error, and the next batch runs."""
        with monkeypatch.context() as patched:
            patched.setattr(one.notes, "batches", None)
            [lost] = await outcomes(one.tasks(1))
        assert isinstance(lost, MeshError)
        assert await one.submit(2) == 4


class TestClose:
    """How it ends."""

    async def test_it_drains(self, one: Bench) -> None:
        """What runs and what waits is answered before `close` returns."""
        first = await one.occupy()
        waiting = await one.queue(1, 2)
        closing = asyncio.create_task(one.batcher.close(PATIENCE))
        await settled()
        assert not closing.done()
        one.worker.gate.open()
        await closing
        assert await outcomes([first, *waiting]) == [1, 2, 4]

    async def test_it_refuses_once_it_closes(self, one: Bench) -> None:
        """With Unavailable, so that the caller tries another node."""
        await one.batcher.close(PATIENCE)
        with pytest.raises(Unavailable):
            await one.submit(1)
        assert one.notes.drops == ["closed"]

    async def test_an_item_in_preprocessing_is_still_served(self, one: Bench) -> None:
        """It holds a place, so the workers wait for it."""
        with one.batcher.reserve() as submit:
            closing = asyncio.create_task(one.batcher.close(PATIENCE))
            await settled()
            assert await submit(Number(1), time.monotonic() + PATIENCE) == 2
        await closing

    async def test_after_the_grace_everyone_is_answered_all_the_same(self, one: Bench) -> None:
        """With Unavailable, both those in the worker and those in the queue."""
        first = await one.occupy()
        waiting = await one.queue(1)
        await one.batcher.close(0.01)
        running, waited = await outcomes([first, *waiting])
        assert isinstance(running, Unavailable)
        assert isinstance(waited, Unavailable)
        assert one.notes.drops == ["closed"]

    async def test_it_may_close_without_having_started(self) -> None:
        """Nothing waits for workers that don't exist."""
        await bench().batcher.close(PATIENCE)
