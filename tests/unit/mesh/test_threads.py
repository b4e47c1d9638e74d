"""Blocking work on threads, bounded."""

import asyncio
import contextvars
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from mesh.threads import Threads
from tests.fake_models import PATIENCE, Gate
from tests.waiting import within


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
    first = threads.run(gate.pass_through)
    await gate.arrival()
    waiting = threads.run(ran.append, "waiting")
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
    running = threads.run(gate.pass_through)
    await gate.arrival()
    running.cancel()
    following = threads.run(str, 5)
    await asyncio.sleep(0)
    assert not following.done()
    gate.open()
    assert await asyncio.wait_for(following, PATIENCE) == "5"


class Payload:
    """An input that is watched."""


async def test_an_input_is_gone_as_soon_as_nobody_needs_it(threads: Threads) -> None:
    """Be it that its caller leaves while it waits, or that it was an error."""
    gate = Gate()
    gate.shut()
    first = threads.run(gate.pass_through)
    await gate.arrival()
    payload = Payload()
    gone = weakref.ref(payload)
    waiting = threads.run(id, payload)
    waiting.cancel()
    del payload, waiting
    await asyncio.sleep(0)
    assert gone() is None
    gate.open()
    await first

    payload = Payload()
    gone = weakref.ref(payload)
    with pytest.raises(TypeError):
        await threads.run(len, payload)
    del payload
    # The caller may hear of the error before the thread has let go of what it called with.
    within(PATIENCE, lambda: gone() is None, lambda: "the input is still held")


async def test_what_is_cancelled_as_its_thread_becomes_free_never_runs(threads: Threads) -> None:
    """The loop hears of both in the same turn."""
    gate, ran = Gate(), []
    gate.shut()
    first, waiting = threads.run(gate.pass_through), threads.run(ran.append, "waiting")
    await gate.arrival()
    gate.open()
    time.sleep(0.1)  # noqa: ASYNC251  Until the loop, which stands still, has been told.
    waiting.cancel()
    await first
    await threads.run(ran.append, "next")
    assert ran == ["next"]


async def test_a_thread_outlives_an_error_that_no_future_takes(threads: Threads) -> None:
    """Others still have their turn."""

    def stop() -> None:
        raise StopIteration

    threads.run(stop)
    assert await asyncio.wait_for(threads.run(str, 5), PATIENCE) == "5"


async def test_closing_gives_up_what_waits(threads: Threads) -> None:
    """And leaves what runs to finish."""
    gate = Gate()
    gate.shut()
    running, waiting = threads.run(gate.pass_through), threads.run(str, 5)
    await gate.arrival()
    threads.close()
    assert waiting.cancelled()
    gate.open()
    await asyncio.wait_for(running, PATIENCE)


async def test_there_are_only_as_many_threads_as_are_needed() -> None:
    """One that is free comes before a new one."""
    threads = Threads(2, "of-two")
    for _ in range(3):
        await threads.run(str, 5)
    assert _named("of-two") == 1
    gate = Gate()
    gate.shut()
    held = [threads.run(gate.pass_through) for _ in range(3)]
    for _ in range(2):
        await gate.arrival()
    assert _named("of-two") == 2
    gate.open()
    await asyncio.wait_for(asyncio.gather(*held), PATIENCE)
    threads.close()


def _named(name: str) -> int:
    return [thread.name for thread in threading.enumerate()].count(name)


def test_a_thread_that_outlives_its_loop_disturbs_nobody() -> None:
    """Nobody waits for its result any more."""
    gate = Gate()
    gate.shut()
    threads: list[Threads] = []

    async def leave() -> None:
        threads.append(Threads(1, "test"))
        running = threads[0].run(gate.pass_through)
        await gate.arrival()
        running.cancel()

    asyncio.run(leave())
    gate.open()
    threads[0].close()
