"""Coroutines that succeed together or not at all."""

import asyncio

import pytest

from mesh.errors import Overloaded
from mesh.together import together
from tests.fake_models import PATIENCE


async def give(value: int, turns: int) -> int:
    """Come back after some turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


async def test_results_come_in_order() -> None:
    """Whoever is done first."""
    assert await together([give(1, 3), give(2, 0)]) == [1, 2]


async def test_nothing_gives_nothing() -> None:
    """At once."""
    assert await together(()) == []


async def test_a_single_one_is_waited_for_like_many() -> None:
    """Its result, its error, and its end where nobody waits any more."""
    assert await together([give(1, 2)]) == [1]

    async def fail() -> None:
        raise Overloaded("full")

    with pytest.raises(Overloaded, match="full"):
        await together([fail()])

    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(together([wait()]))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait_for(ended.wait(), PATIENCE)


async def test_an_error_is_raised_as_it_is_and_the_others_are_cancelled() -> None:
    """Before it is raised: nothing runs on."""
    cancelled = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise Overloaded("full")

    with pytest.raises(Overloaded, match="full"):
        await asyncio.wait_for(together([wait(), fail()]), PATIENCE)
    assert cancelled.is_set()
