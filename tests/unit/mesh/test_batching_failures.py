"""The Batcher: who hears of a failure, and how it ends."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator

import pytest
import structlog

from mesh.errors import DeadlineExpired, InvalidInput, MeshError, Unavailable
from tests.fake_models import PATIENCE
from tests.unit.mesh.workbench import Bench, Number, bench, outcomes, settled


@pytest.fixture
async def one() -> AsyncIterator[Bench]:
    """A running Batcher with one worker."""
    made = bench()
    made.batcher.start()
    yield made
    made.worker.gate.open()
    await made.batcher.close(PATIENCE)


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

    async def test_the_retry_skips_who_has_left_and_what_is_late(self, one: Bench) -> None:
        """Of a batch that failed, the model sees again only what somebody still waits for."""
        one.worker.gate.shut()
        late = asyncio.create_task(one.submit(1, seconds=0.05))
        gone, broken, good = one.tasks(2, 666, 3)
        await one.worker.gate.arrival()
        gone.cancel()
        [expired] = await outcomes([late])
        one.worker.gate.open()
        failed, result = await outcomes([broken, good])
        assert one.worker.batches == [[1, 2, 666, 3], [666], [3]]
        assert isinstance(expired, DeadlineExpired)
        assert (type(failed), result) == (MeshError, 6)

    async def test_an_item_that_is_late_before_its_timer_runs_is_not_tried_again(
        self, one: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A busy loop runs timers late."""
        ends = time.monotonic() + 0.2

        def keep_the_loop_busy(items: int, seconds: float) -> None:
            while time.monotonic() <= ends:
                pass

        monkeypatch.setattr(one.notes, "ran", keep_the_loop_busy)
        late = asyncio.create_task(one.submit(1, seconds=ends - time.monotonic()))
        assert isinstance((await outcomes([late, *one.tasks(666)]))[0], DeadlineExpired)
        assert one.worker.batches == [[1, 666], [666]]

    async def test_a_line_about_an_item_bears_its_request_id(
        self, one: Bench, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Not that of a neighbour, nor none."""

        async def request(value: float) -> float:
            with structlog.contextvars.bound_contextvars(request_id=f"id-{value:g}"):
                return await one.submit(value)

        structlog.configure(
            [structlog.contextvars.merge_contextvars, structlog.processors.JSONRenderer()],
            logger_factory=structlog.PrintLoggerFactory(),
        )
        try:
            await outcomes([request(1), request(666)])
        finally:
            structlog.reset_defaults()
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        [failed] = [line for line in lines if line["event"] == "item_failed"]
        assert failed["request_id"] == "id-666"

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
        with one.reserve(1) as [place]:
            closing = asyncio.create_task(one.batcher.close(PATIENCE))
            await settled()
            one.batcher.submit(place, Number(1))
            assert await place.outcome == 2
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
