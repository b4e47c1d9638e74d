"""One caller who waits for several flights."""

import asyncio
import gc
import weakref
from functools import partial

import pytest

from gateway.single_flight import SingleFlight
from mesh.errors import DeadlineExpired, MeshError, Overloaded
from tests.unit.gateway.flights import Work, in_seconds, run, settle


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


async def test_a_refusal_keeps_nothing_of_what_was_sent() -> None:
    """No cycle of references: a body of megabytes would stay until Python looks for such."""
    flights = SingleFlight[str, str]()

    class Sent:
        """What a request holds."""

    async def refuses(sent: Sent) -> str:
        await asyncio.sleep(0)
        raise Overloaded("full")

    async def ask(sent: Sent) -> None:
        works = {"k": partial(refuses, sent)}
        try:
            await flights.run(works, in_seconds(0), in_seconds(5), lambda error: True)
        except Overloaded:
            return

    gc.disable()
    try:
        sent = Sent()
        left = weakref.ref(sent)
        await ask(sent)
        await settle()
        del sent
        assert left() is None
    finally:
        gc.enable()
