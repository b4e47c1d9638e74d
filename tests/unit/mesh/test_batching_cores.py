"""The Batcher where workers share the cores with all else."""

import asyncio
from dataclasses import replace

import pytest

from mesh.cores import Sharing
from mesh.errors import InvalidInput, MeshError
from tests.fake_models import PATIENCE
from tests.unit.mesh.workbench import Bench, Number, bench, outcomes, settled


def idle(patience: float) -> Sharing:
    """Cores that nobody else needs."""
    return Sharing(patience, lambda: False)


class TestPatience:
    """Where preprocessing takes the model's own cores."""

    async def test_a_batch_waits_for_what_is_being_preprocessed(self) -> None:
        """The worker begins when the last item has come."""
        patient = bench(sharing=idle(PATIENCE / 4))
        patient.batcher.start()
        with patient.reserve(2) as places:
            early = patient.tasks(1)
            await settled()
            assert patient.worker.batches == []
            for place, value in zip(places, (2, 3), strict=True):
                patient.batcher.submit(place, Number(value))
            assert [await place.outcome for place in places] == [4, 6]
        assert await outcomes(early) == [2]
        assert patient.worker.batches == [[1, 2, 3]]
        await patient.batcher.close(PATIENCE)

    async def test_a_batch_does_not_wait_for_what_turned_out_to_be_no_input(self) -> None:
        """Its error comes back, and nobody waits for it any more."""
        patient = bench(sharing=idle(PATIENCE))
        patient.batcher.start()
        with patient.reserve(1) as [place]:
            early = patient.tasks(1)
            await settled()
            patient.batcher.submit(place, InvalidInput("broken"))
            assert isinstance(await place.outcome, InvalidInput)
            assert await outcomes(early) == [2]
        await patient.batcher.close(PATIENCE)

    async def test_a_full_batch_does_not_wait(self) -> None:
        """It could not grow."""
        patient = bench(max_items=2, sharing=idle(PATIENCE))
        patient.batcher.start()
        with patient.reserve(1):
            assert await outcomes(patient.tasks(1, 2)) == [2, 4]
        await patient.batcher.close(PATIENCE)

    async def test_a_slow_input_is_not_waited_for_beyond_patience(self) -> None:
        """It may be a long sound."""
        patient = bench(sharing=idle(0.01))
        patient.batcher.start()
        with patient.reserve(1):
            assert await outcomes(patient.tasks(1)) == [2]
        await patient.batcher.close(PATIENCE)

    async def test_an_item_that_has_little_time_is_not_made_to_wait(self) -> None:
        """Patience would cost its result."""
        patient = bench(sharing=idle(PATIENCE))
        patient.batcher.start()
        with patient.reserve(1):
            assert await patient.submit(1, seconds=PATIENCE / 2) == 2
        await patient.batcher.close(PATIENCE)


class Crowd:
    """Others that take all cores, until they leave."""

    def __init__(self) -> None:
        self.there = True

    @property
    def sharing(self) -> Sharing:
        """What the Batcher is told of it."""
        return Sharing(0.0, lambda: self.there)

    @property
    def spare(self) -> Sharing:
        """The same where further workers must be needed."""
        return replace(self.sharing, spare=True)


class TestCrowds:
    """Where there are more workers than idle cores."""

    async def test_a_second_batch_waits_while_no_core_is_idle(self) -> None:
        """It grows meanwhile, and begins with the core that the first one leaves."""
        crowded = bench(workers=2, sharing=Crowd().sharing)
        crowded.batcher.start()
        first = await crowded.occupy()
        crowded.workers[1].gate.open()
        tasks = [*await crowded.queue(1, 2), *await crowded.queue(3)]
        assert batches(crowded) == [[0.5]]
        crowded.worker.gate.open()
        assert await outcomes([first, *tasks]) == [1, 2, 4, 6]
        assert batches(crowded) == [[0.5], [1, 2, 3]]
        await close(crowded)

    @pytest.mark.parametrize("spare", [False, True])
    async def test_a_second_batch_begins_once_a_core_is_idle(self, spare: bool) -> None:
        """Though nothing else happens; and a spare worker, once cores stay idle."""
        crowd = Crowd()
        crowded = bench(workers=2, sharing=replace(crowd.sharing, spare=spare))
        crowded.batcher.start()
        first = await crowded.occupy()
        crowded.workers[1].gate.open()
        tasks = await crowded.queue(1, 2)
        assert batches(crowded) == [[0.5]]
        crowd.there = False
        assert await outcomes(tasks) == [2, 4]
        assert not first.done()
        await close(crowded)

    async def test_a_full_batch_waits_for_no_core(self) -> None:
        """It gains nothing by it."""
        crowded = bench(workers=2, max_items=2, sharing=Crowd().sharing)
        crowded.batcher.start()
        first = await crowded.occupy()
        crowded.workers[1].gate.open()
        assert await outcomes(await crowded.queue(1, 2)) == [2, 4]
        assert not first.done()
        await close(crowded)

    async def test_the_first_batch_waits_for_no_core(self) -> None:
        """Others may take them for ever."""
        crowded = bench(workers=2, sharing=Crowd().sharing)
        crowded.batcher.start()
        assert await crowded.submit(1) == 2
        await close(crowded)


class TestSpares:
    """Where a further worker costs memory."""

    @pytest.mark.parametrize("max_items", [2, 32])
    async def test_one_worker_does_all_while_others_take_the_cores(self, max_items: int) -> None:
        """A spare one takes no batch, not even a full one, nor the next one in turn."""
        crowded = bench(workers=2, max_items=max_items, sharing=Crowd().spare)
        crowded.batcher.start()
        first = await crowded.occupy()
        tasks = await crowded.queue(1, 2)
        crowded.worker.gate.open()
        assert await outcomes([first, *tasks]) == [1, 2, 4]
        assert await crowded.submit(3) == 6
        assert crowded.workers[1].batches == []
        await close(crowded)

    async def test_a_spare_worker_prepares_itself_on_what_waits(self) -> None:
        """Nobody's result comes of that: it may take long, or fail."""
        crowd = Crowd()
        crowded = bench(workers=2, sharing=crowd.spare)
        crowded.batcher.start()
        first = await crowded.occupy()
        tasks = await crowded.queue(666, 2)
        crowd.there = False
        await crowded.workers[1].gate.arrival()
        crowded.worker.gate.open()
        choked, *others = await outcomes([tasks[0], first, tasks[1]])
        assert isinstance(choked, MeshError)
        assert others == [1, 4]
        assert crowded.workers[1].batches == [[666, 2]]
        crowded.workers[1].gate.open()
        await close(crowded)

    async def test_a_batcher_closes_though_no_spare_worker_was_needed(self) -> None:
        """At once."""
        crowded = bench(workers=3, sharing=Crowd().spare)
        crowded.batcher.start()
        await asyncio.wait_for(close(crowded), PATIENCE / 2)


def batches(made: Bench) -> list[list[float]]:
    """What the workers got, one worker after the other."""
    return [batch for worker in made.workers for batch in worker.batches]


async def close(made: Bench) -> None:
    """Let all finish."""
    for worker in made.workers:
        worker.gate.open()
    await made.batcher.close(PATIENCE)
