"""A few threads for work that would block the event loop, such as decoding an image."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Threads:
    """Runs plain functions on at most `count` threads.

    What finds no free thread waits on the event loop and not in the executor's queue, so that a
    caller that leaves takes its input out of memory at once.
    """

    def __init__(self, count: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=count, thread_name_prefix=name)
        self._free = asyncio.Semaphore(count)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function on a thread. Cancelling leaves a call that has begun to finish."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()

        def done(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # The loop is closed: nobody waits for a thread.
                loop.call_soon_threadsafe(self._free.release)

        # With the caller's context, so that lines logged on the thread bear its request id.
        run_here = contextvars.copy_context().run
        future = self._executor.submit(run_here, partial(function, *args, **kwargs))
        future.add_done_callback(done)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the threads end, without waiting for them."""
        self._executor.shutdown(wait=False, cancel_futures=True)
