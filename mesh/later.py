"""What nobody waits for is done at once, or where much of it comes, what came in a moment together.

A process that answers a thousand requests a second from sixteen threads would else spend a tenth of
its time on letting go of Python's lock and on taking it back, and more on going through the same
code again and again with other work between.
"""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

# Things that wait at most; then whoever brings one waits for those that do them.
MOST: Final = 10_000


class Later(Generic[T]):
    """Has `do` done with things, and `pause` seconds between two times.

    Safe to use from any thread, and `do` runs on one at a time. What comes in so many seconds is
    the most that is lost where the process is killed; one that ends by itself has to `flush`.
    """

    def __init__(self, do: Callable[[list[T]], None], pause: float, name: str) -> None:
        """`do` must not raise. `name` is that of the thread for what nobody else does in time."""
        self._do = do
        self._pause = pause
        self._name = name
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        """With nothing: what waits in a process that forks is for that one to do."""
        self._waiting: deque[T] = deque()
        self._doing = threading.Lock()
        self._doer = 0
        self._done = -self._pause
        # Whether what waits is about to be done by our own thread, which `due` wakes.
        self._soon = False
        self._due = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, thing: T, at_once: bool = False) -> None:
        """Take one thing; with `at_once` it does not wait, nor does what came before it."""
        self._waiting.append(thing)
        if at_once or len(self._waiting) >= MOST:
            self.flush()
        elif not self._soon:
            if time.monotonic() - self._done >= self._pause:
                self.flush()
            else:
                self._flush_soon()

    def flush(self) -> None:
        """Do all that waits."""
        if self._doer == threading.get_ident():
            return  # What comes of what runs while we do it, such as __del__, is done next.
        with self._doing:
            self._doer = threading.get_ident()
            try:
                while self._waiting:
                    self._done = time.monotonic()
                    self._do([self._waiting.popleft() for _ in range(len(self._waiting))])
            finally:
                self._doer = 0

    def _flush_soon(self) -> None:
        self._soon = True
        if self._thread is None:
            thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # There are as many as there may be.
                self._soon = False
                self.flush()
                return
            self._thread = thread
        self._due.set()

    def _serve(self) -> None:
        while True:
            self._due.wait()
            time.sleep(self._pause)
            self._due.clear()
            self._done = time.monotonic()  # Or whoever comes now would find it quiet.
            self._soon = False
            self.flush()


_all: "weakref.WeakSet[Later[Any]]" = weakref.WeakSet()


def _begin_all() -> None:
    for later in list(_all):
        later._begin()


os.register_at_fork(after_in_child=_begin_all)
