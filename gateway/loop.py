"""The one asyncio loop of the gateway, in a thread of its own, that Flask's threads hand work to.

A channel of grpc.aio works in the loop that made it and in no other, so every view shares this one.
"""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Final, Self, TypeVar

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
        cancelled then.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(max(timeout, 0))
        except TimeoutError:
            if future.done():
                return future.result()  # Done in the last moment, or the time-out is its own.
            future.cancel()
            raise DeadlineExpired("no answer in time") from None
        except CancelledError:
            raise Unavailable("the gateway is stopping") from None

    def _main(self) -> None:
        uvloop.run(self._until_closed())

    async def _until_closed(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        self._started.set()
        await self._closing.wait()
