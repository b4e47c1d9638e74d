"""Single flight: identical work is done once, and nobody inherits another's troubles."""

import asyncio

import pytest

from gateway.single_flight import SingleFlight
from mesh.errors import DeadlineExpired, MeshError
from tests.unit.gateway.flights import Work, in_seconds, run, settle


async def test_equal_keys_in_flight_run_once() -> None:
    """Ten callers of one key share one run and its value."""
    flights, work = SingleFlight[str, str](), Work()
    callers = [
        asyncio.ensure_future(run(flights, "k", in_seconds(0), in_seconds(5), work))
        for _ in range(10)
    ]
    await settle()
    work.gate.set()
    assert await asyncio.gather(*callers) == ["done"] * 10
    assert work.runs == 1


async def test_who_looked_before_the_landing_gets_its_value_after_it() -> None:
    """A caller that found nothing in the cache, since it looked too early, finds it here."""
    flights, work = SingleFlight[str, str](), Work()
    looked = in_seconds(0)
    work.gate.set()
    await run(flights, "k", looked, in_seconds(5), work)
    assert await run(flights, "k", looked, in_seconds(5), work) == "done"
    assert work.runs == 1


async def test_who_looks_after_the_landing_starts_anew() -> None:
    """It would have found the value in the cache, if that was of any use."""
    flights, work = SingleFlight[str, str](), Work()
    work.gate.set()
    await run(flights, "k", in_seconds(0), in_seconds(5), work)
    await run(flights, "k", in_seconds(0), in_seconds(5), work)
    assert work.runs == 2


async def test_a_landed_flight_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once everybody who looked before has come, its value is let go."""
    monkeypatch.setattr("gateway.single_flight.LINGER", 0.0)
    flights, work = SingleFlight[str, str](), Work()
    looked = in_seconds(0)
    work.gate.set()
    await run(flights, "k", looked, in_seconds(5), work)
    await settle()
    await run(flights, "k", looked, in_seconds(5), work)
    assert work.runs == 2


async def test_a_failed_flight_is_forgotten_at_once() -> None:
    """Nobody inherits an error from before."""
    flights, runs = SingleFlight[str, str](), 0

    async def fails_once() -> str:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise MeshError("broken")
        return "done"

    looked = in_seconds(0)
    with pytest.raises(MeshError):
        await run(flights, "k", looked, in_seconds(5), fails_once)
    assert await run(flights, "k", looked, in_seconds(5), fails_once) == "done"


async def test_other_keys_run_by_themselves() -> None:
    """Two keys are two runs."""
    flights, work = SingleFlight[str, str](), Work()
    work.gate.set()
    await asyncio.gather(*(run(flights, key, in_seconds(0), in_seconds(5), work) for key in "ab"))
    assert work.runs == 2


async def test_a_caller_that_leaves_takes_nobody_with_it() -> None:
    """Cancelling the first caller leaves the second its value."""
    flights, work = SingleFlight[str, str](), Work()
    first = asyncio.ensure_future(run(flights, "k", in_seconds(0), in_seconds(5), work))
    second = asyncio.ensure_future(run(flights, "k", in_seconds(0), in_seconds(5), work))
    await settle()
    first.cancel()
    await settle()
    work.gate.set()
    assert await second == "done"
    assert (work.runs, work.cancelled) == (1, 0)


async def test_the_work_is_cancelled_when_the_last_has_left() -> None:
    """Work that nobody waits for is ended, and a newcomer does not meet its remains."""
    flights, work = SingleFlight[str, str](), Work()
    callers = [
        asyncio.ensure_future(run(flights, "k", in_seconds(0), in_seconds(5), work))
        for _ in range(2)
    ]
    await settle()
    for caller in callers:
        caller.cancel()
    newcomer = asyncio.ensure_future(run(flights, "k", in_seconds(0), in_seconds(5), work))
    await settle()
    work.gate.set()
    assert await newcomer == "done"
    assert work.cancelled == 1


async def test_each_caller_waits_by_its_own_deadline() -> None:
    """An impatient joiner expires while the others go on."""
    flights, work = SingleFlight[str, str](), Work()
    patient = asyncio.ensure_future(run(flights, "k", in_seconds(0), in_seconds(5), work))
    await settle()
    with pytest.raises(DeadlineExpired):
        await run(flights, "k", in_seconds(0), in_seconds(0.01), work)
    work.gate.set()
    assert await patient == "done"
    assert work.runs == 1


async def test_a_joiner_does_not_inherit_the_first_ones_time_out() -> None:
    """Where the work itself expired by the first one's deadline, the joiner starts it again."""
    flights, runs = SingleFlight[str, str](), 0
    gate = asyncio.Event()

    async def expires_once() -> str:
        nonlocal runs
        runs += 1
        if runs == 1:
            await gate.wait()
            raise DeadlineExpired("the first one's")
        return "done"

    first = asyncio.ensure_future(run(flights, "k", in_seconds(0), in_seconds(5), expires_once))
    await settle()
    joiner = asyncio.ensure_future(run(flights, "k", in_seconds(0), in_seconds(5), expires_once))
    await settle()
    gate.set()
    with pytest.raises(DeadlineExpired):
        await first
    assert await joiner == "done"


async def test_an_error_reaches_all_who_wait() -> None:
    """Everybody who joined gets the work's error."""

    async def fails() -> str:
        await asyncio.sleep(0)
        raise MeshError("broken")

    flights = SingleFlight[str, str]()
    callers = [run(flights, "k", in_seconds(0), in_seconds(5), fails) for _ in range(3)]
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["broken"] * 3
