"""Log lines on their way out."""

import contextlib
import logging
from collections.abc import Sequence
from typing import TextIO

from mesh.later import Later


class Lines(logging.Handler):
    """Writes to a stream, with `pause` seconds between two writes. Safe to use from any thread.

    Warnings and worse are never kept back, nor is what came before them.
    """

    def __init__(self, stream: TextIO, pause: float = 0.0) -> None:
        super().__init__()
        self._stream = stream
        self._lines = Later(self._write, pause, "log")

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
        self._lines.take(line + "\n", at_once=level >= logging.WARNING)

    def flush(self) -> None:
        """Write all that waits."""
        self._lines.flush()

    def _write(self, lines: Sequence[str]) -> None:
        # The stream may be closed, or nobody at its other end any more.
        with contextlib.suppress(Exception):
            self._stream.write("".join(lines))
            self._stream.flush()
