"""Log lines on their way out: each at once, or where many come, those of a moment together.

Whoever writes lets go of Python's lock meanwhile. A process that answers a thousand requests a
second from sixteen threads spends a tenth of its time on taking it back, and writes twenty times a
second instead.
"""

import contextlib
import logging
import os
import threading
import time
import weakref
from collections import deque
from typing import Final, TextIO

# Lines that wait at most; then whoever logs waits for those who read.
MOST: Final = 10_000


class Lines(logging.Handler):
    """Writes to a stream, with `pause` seconds between two writes. Safe to use from any thread.

    So much is also the most that is lost where the process is killed; one that ends by itself has
    to `flush`. Warnings and worse are never kept back, nor is what came before them.
    """

    def __init__(self, stream: TextIO, pause: float = 0.0) -> None:
        super().__init__()
        self._stream = stream
        self._pause = pause
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        """With no lines: those that wait in a process that forks are for that one to write."""
        self._waiting: deque[str] = deque()
        self._writing = threading.Lock()
        self._writer = 0
        self._written = -self._pause
        self._due = threading.Event()
        self._thread: threading.Thread | None = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Take what the standard library logs; without its lock, which threads would queue for."""
        kept = self.filter(record)
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        try:
            self.take(record.levelno, self.format(record))
        except Exception:
            self.handleError(record)

    def take(self, level: int, line: str) -> None:
        """Take one line. Never raises: what nobody can read must not fail requests."""
        self._waiting.append(line + "\n")
        if self._is_quiet() or level >= logging.WARNING or len(self._waiting) >= MOST:
            self.flush()
        elif not self._due.is_set():
            self._write_soon()

    def flush(self) -> None:
        """Write all that waits."""
        if self._writer == threading.get_ident():
            return  # What is logged by what runs while we write, such as __del__, is written next.
        with self._writing:
            self._writer = threading.get_ident()
            try:
                while self._waiting:
                    self._write([self._waiting.popleft() for _ in range(len(self._waiting))])
            finally:
                self._writer = 0

    def _write(self, lines: list[str]) -> None:
        self._written = time.monotonic()
        # The stream may be closed, or nobody at its other end any more.
        with contextlib.suppress(Exception):
            self._stream.write("".join(lines))
            self._stream.flush()

    def _is_quiet(self) -> bool:
        return time.monotonic() - self._written >= self._pause

    def _write_soon(self) -> None:
        self._due.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="log", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        while True:
            self._due.wait()
            time.sleep(self._pause)
            self._due.clear()
            self.flush()


_all: weakref.WeakSet[Lines] = weakref.WeakSet()


def _begin_all() -> None:
    for lines in list(_all):
        lines._begin()


os.register_at_fork(after_in_child=_begin_all)
