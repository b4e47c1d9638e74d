"""Single flight: identical work is done once, and nobody inherits another's troubles."""

import asyncio
import weakref
from functools import partial
from typing import Any

import pytest

from gateway.single_flight import SingleFlight
from mesh.errors import DeadlineExpired, MeshError, Overloaded


class Work:
    """Counts its runs; each waits for the gate."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.gate = asyncio.Event()

    async def __call__(self) -> str:
        self.runs += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return "done"


def in_seconds(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def run(
    flights: SingleFlight[str, str], key: str, looked: float, deadline: float, work: Any
) -> str:
    """The value of one key's work, or its error."""
    outcomes = await flights.run({key: work}, looked, deadline, lambda error: False)
    outcome = outcomes[key]
    if isinstance(outcome, MeshError):
        raise outcome
    return outcome


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


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


async def fails(error: Exception) -> str:
    """Work that ends by this."""
    await asyncio.sleep(0)
    raise error


async def test_several_works_are_waited_for_together() -> None:
    """Each has its value or its own error; they begin in their order."""
    flights, begun = SingleFlight[str, str](), []

    async def works(key: str) -> str:
        begun.append(key)
        return await (fails(MeshError("broken")) if key == "b" else asyncio.sleep(0, key))

    outcomes = await flights.run(
        {key: partial(works, key) for key in "cab"},
        in_seconds(0),
        in_seconds(5),
        lambda error: False,
    )
    assert begun == ["c", "a", "b"]
    assert (outcomes["a"], outcomes["c"], str(outcomes["b"])) == ("a", "c", "broken")


async def test_nothing_to_do_is_done() -> None:
    """As where all is cached."""
    assert not await SingleFlight[str, str]().run({}, 0, in_seconds(5), lambda error: False)


@pytest.mark.parametrize("error", [Overloaded("full"), KeyError("a bug")])
async def test_an_error_that_ends_all_is_raised_at_once(error: Exception) -> None:
    """What nobody else waits for is cancelled, and the rest goes on."""
    flights, alone, shared = SingleFlight[str, str](), Work(), Work()
    other = asyncio.ensure_future(run(flights, "shared", in_seconds(0), in_seconds(5), shared))
    await settle()
    works = {"alone": alone, "shared": shared, "broken": partial(fails, error)}
    with pytest.raises(type(error)):
        await flights.run(
            works, in_seconds(0), in_seconds(5), lambda error: isinstance(error, Overloaded)
        )
    await settle()
    shared.gate.set()
    assert await other == "done"
    assert (alone.cancelled, shared.cancelled) == (1, 0)


async def test_what_is_late_does_not_hold_up_what_is_there() -> None:
    """At the deadline there is the value of the one, and of the other that it was late."""
    flights, quick, slow = SingleFlight[str, str](), Work(), Work()
    quick.gate.set()
    outcomes = await flights.run(
        {"quick": quick, "slow": slow}, in_seconds(0), in_seconds(0.02), lambda error: False
    )
    assert outcomes["quick"] == "done"
    assert isinstance(outcomes["slow"], DeadlineExpired)
    await settle()
    assert slow.cancelled == 1


async def test_a_caller_that_leaves_keeps_nothing_of_what_others_do() -> None:
    """Its works hold what was sent; the one that goes on is another's."""
    flights, work = SingleFlight[str, str](), Work()
    other = asyncio.ensure_future(run(flights, "k", in_seconds(0), in_seconds(5), work))
    await settle()
    mine = Work()
    left = weakref.ref(mine)
    caller = asyncio.ensure_future(run(flights, "k", in_seconds(0), in_seconds(5), mine))
    await settle()
    caller.cancel()
    await settle()
    del caller, mine
    assert left() is None
    work.gate.set()
    assert await other == "done"
