"""How supervisord takes what its processes log: what comes within a moment together.

By itself it turns whenever one of them has written something, which takes 0.2 ms of a core each
time: eighty times a second with 96 requests a second in batches.
"""

import fcntl
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from supervisor.options import ServerOptions
from supervisor.poller import Poller

# Seconds for which what has been written waits for more of it.
PAUSE: Final = 0.1
# Bytes that a pipe holds meanwhile, before its writer has to wait: as many as Linux lets anybody
# have. So 10 MiB a second can be logged.
PIPE: Final = 2**20


class LogOptions(ServerOptions):  # type: ignore[misc]  # It has no types.
    """Supervisord's, with larger pipes for what processes write on standard output."""

    def make_pipes(self, stderr: bool = True) -> dict[str, Any]:
        """Those between supervisord and a process that it starts."""
        pipes: dict[str, Any] = super().make_pipes(stderr)
        if sys.platform == "linux":
            with suppress(OSError):  # This user has too many already: then nothing waits in it.
                fcntl.fcntl(pipes["stdout"], fcntl.F_SETPIPE_SZ, PIPE)
        return pipes

    def readfd(self, fd: int) -> bytes:
        """All that a pipe holds; supervisord's own reads an eighth of it at a time."""
        data = b""
        while len(data) < PIPE and (more := super().readfd(fd)):
            data += more
        return data


class LogPoller(Poller):  # type: ignore[misc]
    """Waits for all that supervisord reads and writes, but not for logs just after some."""

    def __init__(self, options: Any, watched: Callable[[], Iterable[int]]) -> None:
        """`watched` are all ends of pipes to processes, those of logs among them."""
        super().__init__(options)
        self.watched = watched
        # When logs are looked at next, on the clock of time.monotonic().
        self._due = 0.0

    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        """What can be read, and what be written. Logs can't until the pause is over.

        Nothing where that and then `timeout` seconds pass without any.
        """
        logs = {fd for fd in self.readables.intersection(self.watched()) if _is_large(fd)}
        ready: tuple[list[int], list[int]]
        if (pause := self._due - time.monotonic()) > 0:
            for log in logs:
                self.unregister_readable(log)
            ready = super().poll(pause)
            for log in logs:
                self.register_readable(log)
            if any(ready):
                return ready
        ready = super().poll(timeout)
        if not logs.isdisjoint(ready[0]):
            self._due = time.monotonic() + PAUSE
        return ready


def _is_large(fd: int) -> bool:
    """Whether this is a pipe in which something may wait. It may be closed already."""
    if sys.platform == "linux":
        with suppress(OSError):
            return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) >= PIPE
    return False
