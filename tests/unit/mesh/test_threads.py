"""Blocking work on threads, bounded."""

import asyncio
import contextvars
import threading
from collections.abc import Iterator

import pytest

from mesh.threads import Threads
from tests.fake_models import PATIENCE, Gate


@pytest.fixture
async def threads() -> Iterator[Threads]:
    """A single thread."""
    made = Threads(1, "test")
    yield made
    made.close()


async def test_the_function_runs_on_another_thread(threads: Threads) -> None:
    """With its arguments, and its result comes back."""
    assert await threads.run(divmod, 7, 2) == (3, 1)
    assert await threads.run(threading.get_ident) != threading.get_ident()


async def test_an_error_comes_back(threads: Threads) -> None:
    """To its own caller."""
    with pytest.raises(ValueError, match="invalid literal"):
        await threads.run(int, "x")


async def test_the_callers_context_goes_along(threads: Threads) -> None:
    """So that a line logged there bears the request's id."""
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("mine")
    assert await threads.run(variable.get) == "mine"


async def test_what_is_cancelled_while_it_waits_never_runs(threads: Threads) -> None:
    """And leaves its thread to the next."""
    gate, ran = Gate(), []
    gate.shut()
    first = asyncio.create_task(threads.run(gate.pass_through))
    await gate.arrival()
    waiting = asyncio.create_task(threads.run(ran.append, "waiting"))
    await asyncio.sleep(0)
    waiting.cancel()
    gate.open()
    await first
    await threads.run(ran.append, "next")
    assert ran == ["next"]


async def test_what_is_cancelled_while_it_runs_keeps_its_thread_until_it_is_done(
    threads: Threads,
) -> None:
    """A thread can't be stopped, so the next one waits."""
    gate = Gate()
    gate.shut()
    running = asyncio.create_task(threads.run(gate.pass_through))
    await gate.arrival()
    running.cancel()
    following = asyncio.create_task(threads.run(str, 5))
    await asyncio.sleep(0)
    assert not following.done()
    gate.open()
    assert await asyncio.wait_for(following, PATIENCE) == "5"


def test_a_thread_that_outlives_its_loop_disturbs_nobody() -> None:
    """Nobody waits for its result any more."""
    gate = Gate()
    gate.shut()
    threads: list[Threads] = []

    async def leave() -> None:
        threads.append(Threads(1, "test"))
        running = asyncio.create_task(threads[0].run(gate.pass_through))
        await gate.arrival()
        running.cancel()

    asyncio.run(leave())
    gate.open()
    threads[0].close()
