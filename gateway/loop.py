"""The one asyncio loop of the gateway, in a thread of its own, that Flask's threads hand work to.

A channel of grpc.aio works in the loop that made it and in no other, so every view shares this one.
"""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import uvloop

from mesh.errors import DeadlineExpired, Unavailable

T = TypeVar("T")

# Seconds. Only a loop that is stuck takes longer to end.
JOIN_WAIT: Final = 10.0


class BackgroundLoop:
    """Runs coroutines from any thread, between entering and leaving the `with` block.

    Enter it after any fork. Leaving cancels what still runs, then joins the thread.
    """

    def __init__(self) -> None:
        self._started = threading.Event()
        # A loop that is stuck must not keep the process alive.
        self._thread = threading.Thread(target=self._main, name="loop", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._closing: asyncio.Event

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(JOIN_WAIT)

    def run(self, work: Coroutine[Any, Any, T], timeout: float) -> T:
        """The coroutine's result, or its exception, in at most `timeout` seconds.

        Raises DeadlineExpired after them, also when the loop itself is stuck; the work is
        cancelled then. Raises Unavailable where the loop has ended, or ends while it works.
        """
        errand = _Errand(work)
        try:
            self._loop.call_soon_threadsafe(errand.begin)
        except RuntimeError:  # The loop is closed.
            work.close()
            raise Unavailable("the gateway is stopping") from None
        # The second time for what was done in the last moment.
        over = errand.over.acquire(timeout=max(timeout, 0)) or errand.over.acquire(blocking=False)
        if not over:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(errand.cancel)
            raise DeadlineExpired("no answer in time")
        return errand.result()

    def _main(self) -> None:
        uvloop.run(self._until_closed())

    async def _until_closed(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        self._started.set()
        await self._closing.wait()


class _Errand(Generic[T]):
    """A coroutine for a loop, and the thread that waits for it.

    What asyncio.run_coroutine_threadsafe does, without a second future with a lock, a condition
    and callbacks of its own.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None
        # Held until the work is over.
        self.over = threading.Lock()
        self.over.acquire()

    def begin(self) -> None:
        """Start the work. Runs in the loop, as does `cancel`, which comes after it."""
        self._task = asyncio.create_task(self._work)
        self._task.add_done_callback(self._end)

    def cancel(self) -> None:
        """Nobody waits any more."""
        if self._task:
            self._task.cancel()

    def result(self) -> T:
        """What the work gave or raised, once it is over. To be asked once."""
        task, self._task = self._task, None
        if task is None or task.cancelled():
            raise Unavailable("the gateway is stopping")
        try:
            return task.result()
        finally:
            # An error's traceback holds this frame and the caller's, with what was sent. By the
            # task they would be in a cycle, and stay until Python looks for such.
            del task

    def _end(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # Else asyncio would tell of one that nobody waits for any more.
        self.over.release()
