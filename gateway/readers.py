"""Threads for work that may never end, such as reading from a client, on behalf of those who wait.

What concurrent.futures does, for a quarter of its time: each request's body is read this way.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Self


class Readers:
    """As many threads as there has been work for at a time. Safe to use from any thread.

    Leaving the `with` block ends those that are idle; the others end with the process.
    """

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[Reading | None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._idle:
            self._idle.pop().put(None)

    def start(self, work: Callable[[], bytes]) -> "Reading":
        """Let a thread do the work, beginning now."""
        reading = Reading(work)
        try:
            # The last that became idle: its memory is the warmest.
            jobs = self._idle.pop()
        except IndexError:
            jobs = self._one_more()
        jobs.put(reading)
        return reading

    def _one_more(self) -> "SimpleQueue[Reading | None]":
        jobs: SimpleQueue[Reading | None] = SimpleQueue()
        threading.Thread(target=self._serve, args=(jobs,), name="reader", daemon=True).start()
        return jobs

    def _serve(self, jobs: "SimpleQueue[Reading | None]") -> None:
        while (reading := jobs.get()) is not None:
            reading.run()
            self._idle.append(jobs)
            del reading  # It holds a body.


class Reading:
    """Work in another thread, and what became of it."""

    def __init__(self, work: Callable[[], bytes]) -> None:
        self._work = work
        self._running = threading.Lock()
        self._running.acquire()
        self._value = b""
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do the work. Never raises."""
        try:
            self._value = self._work()
        except BaseException as error:
            self._error = error
        finally:
            self._running.release()

    def wait(self, seconds: float) -> bool:
        """Whether it is done, in at most so many seconds."""
        done = self._running.acquire(timeout=max(0.0, seconds))
        if done:
            self._running.release()
        return done

    def result(self) -> bytes:
        """What the work gave or raised, once it is done. To be asked once."""
        error, self._error = self._error, None
        if error is None:
            return self._value
        try:
            raise error
        finally:
            # Its traceback holds this frame: a refused body would stay until garbage collection.
            del error
