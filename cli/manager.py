"""Supervisord, which does at once what there is to do.

Its own loop turns when a process writes or a second is over: Python goes on waiting where a signal
comes (PEP 475). What has ended is seen in one turn and started again in the next, and the first
turn, which starts all, comes after a second, too.
"""

import signal
import socket
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any

from supervisor.states import ProcessStates
from supervisor.supervisord import Supervisor

from cli.log_pipes import LogPoller


class Manager(Supervisor):  # type: ignore[misc]  # It has no types.
    """Supervisord, whose loop turns by signals as well."""

    def runforever(self) -> None:
        """Start all, then turn."""
        self.options.poller.close()  # It watches nothing yet.
        self.options.poller = LogPoller(self.options, self.get_process_map)
        with _waking(self.options.get_socket_map()):
            self._advance()
            super().runforever()

    def handle_signal(self) -> None:
        """Do what a signal says. Comes after it was seen who has ended."""
        super().handle_signal()
        groups = self.process_groups.values()
        processes = chain.from_iterable(group.processes.values() for group in groups)
        if any(process.state == ProcessStates.EXITED for process in processes):
            self._advance()

    def _advance(self) -> None:
        """As each turn does: start what is to run, and give up what is late."""
        for group in sorted(self.process_groups.values()):
            group.transition()


class _Alarm:
    """What supervisord's loop knows as a dispatcher: of bytes that Python writes for signals."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def readable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """No."""
        return False

    def handle_read_event(self) -> None:
        """Forget one: there is a turn for each, which deals with one signal."""
        with suppress(BlockingIOError):
            self._end.recv(1)

    def handle_error(self) -> None:
        """None that would matter: turns come without it, too."""


@contextmanager
def _waking(dispatchers: MutableMapping[int, Any]) -> Iterator[None]:
    """Let signals end the wait of a loop over these."""
    ours, pythons = socket.socketpair()
    with ours, pythons:
        ours.setblocking(False)
        pythons.setblocking(False)
        signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
        dispatchers[ours.fileno()] = _Alarm(ours)
        try:
            yield
        finally:
            del dispatchers[ours.fileno()]
            signal.set_wakeup_fd(-1)
