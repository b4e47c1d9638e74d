"""The background loop: results, errors and deadlines over threads, and an end without leftovers."""

import asyncio
import gc
import threading
import time
import weakref
from contextlib import suppress
from contextvars import ContextVar

import pytest

from gateway.loop import BackgroundLoop
from mesh.errors import DeadlineExpired, Unavailable

request_id: ContextVar[str] = ContextVar("request_id")


async def value(result: str, seconds: float = 0) -> str:
    await asyncio.sleep(seconds)
    return result


async def fail(error: BaseException) -> None:
    raise error


def test_results_and_errors_come_back() -> None:
    """As if the coroutine had been awaited here."""
    with BackgroundLoop() as loop:
        assert loop.run(value("a"), 5) == "a"
        with pytest.raises(KeyError):
            loop.run(fail(KeyError()), 5)
        with pytest.raises(TimeoutError, match="its own"):
            loop.run(fail(TimeoutError("its own")), 5)


def test_every_thread_shares_one_loop() -> None:
    """Work of many threads runs side by side in the same one."""

    async def running() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    loops = []
    with BackgroundLoop() as loop:
        threads = [
            threading.Thread(target=lambda: loops.append(loop.run(running(), 5))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(loops) == 8
    assert len(set(map(id, loops))) == 1


def test_late_work_is_cancelled() -> None:
    """The caller has DeadlineExpired in time, and the work does not go on."""
    cancelled = threading.Event()

    async def too_long() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with BackgroundLoop() as loop:
        with pytest.raises(DeadlineExpired):
            loop.run(too_long(), 0.02)
        assert cancelled.wait(5)


def test_a_stuck_loop_keeps_nobody_waiting() -> None:
    """The time-out holds although the loop does not turn."""
    stuck, release = threading.Event(), threading.Event()

    async def block() -> None:
        stuck.set()
        release.wait(10)

    with BackgroundLoop() as loop:
        blocking = threading.Thread(target=loop.run, args=(block(), 20))
        blocking.start()
        stuck.wait(5)
        started = time.monotonic()
        with pytest.raises(DeadlineExpired):
            loop.run(value("a"), 0.02)
        assert time.monotonic() - started < 5
        release.set()
        blocking.join()


def test_leaving_cancels_what_is_left() -> None:
    """Those who wait hear of it, and the thread is gone."""
    errors: list[BaseException] = []
    begun = threading.Event()

    async def forever() -> None:
        begun.set()
        await asyncio.Event().wait()

    def wait() -> None:
        with pytest.raises(Unavailable) as raised:
            loop.run(forever(), 30)
        errors.append(raised.value)

    before = threading.active_count()
    with BackgroundLoop() as loop:
        waiting = threading.Thread(target=wait)
        waiting.start()
        begun.wait(5)
    waiting.join(5)
    assert len(errors) == 1
    assert threading.active_count() == before


def test_the_callers_context_goes_along() -> None:
    """What a thread has bound for its log lines is bound in the loop as well."""

    async def bound() -> str:
        return request_id.get()

    with BackgroundLoop() as loop:
        request_id.set("mine")
        assert loop.run(bound(), 5) == "mine"


def test_an_error_keeps_nothing_that_its_caller_held() -> None:
    """No cycle of references: a body of megabytes would stay until Python looks for such."""

    class Body:
        """What a caller holds."""

    async def broken() -> None:
        raise KeyError

    def ask(body: Body) -> None:
        with suppress(KeyError):
            loop.run(broken(), 5)

    gc.disable()
    try:
        with BackgroundLoop() as loop:
            body = Body()
            left = weakref.ref(body)
            ask(body)
            del body
            loop.run(value("next"), 5)  # The loop itself is done with the first by then.
            assert left() is None
    finally:
        gc.enable()


def test_a_loop_that_has_ended_takes_nothing_more() -> None:
    """And leaves no coroutine that was never awaited."""
    with BackgroundLoop() as loop:
        pass
    with pytest.raises(Unavailable):
        loop.run(value("late"), 5)
