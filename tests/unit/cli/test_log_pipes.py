"""When supervisord looks at what its processes have logged, and how much of it waits."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from cli.log_pipes import PAUSE, PIPE, LogOptions, LogPoller

# Much longer than anything here should take.
LONG = 20.0


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Its end that is read, and the one that is written to."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


@pytest.fixture
def pipes() -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """One by which a process logs, and another one."""
    with ExitStack() as stack:
        yield stack.enter_context(pipe()), stack.enter_context(pipe())


def poller(log: int, other: int) -> Any:
    """One that watches these."""
    made = LogPoller(SimpleNamespace(), lambda: [log])
    for fd in (log, other):
        made.register_readable(fd)
    return made


Pipes = tuple[tuple[int, int], tuple[int, int]]


def test_what_is_logged_just_after_waits_for_more(pipes: Pipes) -> None:
    """Else each line costs a turn of supervisord's loop."""
    (log, logged), (other, _) = pipes
    watching = poller(log, other)
    os.write(logged, b"one")
    assert watching.poll(LONG) == ([log], [])
    os.read(log, 3)
    start = time.monotonic()
    os.write(logged, b"two")
    assert watching.poll(LONG) == ([log], [])
    assert PAUSE / 2 < time.monotonic() - start < LONG / 2


def test_the_first_line_after_a_while_does_not_wait(pipes: Pipes) -> None:
    """There is no need to."""
    (log, logged), (other, _) = pipes
    watching = poller(log, other)
    for _ in range(2):
        os.write(logged, b"line")
        assert watching.poll(0) == ([log], [])
        os.read(log, 4)
        time.sleep(PAUSE)


def test_nothing_else_waits_for_logs(pipes: Pipes) -> None:
    """As an end of a process, which is to be started again."""
    (log, logged), (other, told) = pipes
    watching = poller(log, other)
    os.write(logged, b"one")
    watching.poll(LONG)
    os.write(told, b"!")
    assert watching.poll(LONG) == ([other], [])  # The log has something, too.
    os.read(other, 1)
    assert watching.poll(LONG) == ([log], [])


def test_a_pipe_holds_what_comes_in_a_pause() -> None:
    """No writer has to wait for supervisord, unless it logs ten mebibytes a second."""
    options = LogOptions.__new__(LogOptions)
    pipes = options.make_pipes(stderr=False)
    try:
        if fcntl.fcntl(pipes["stdout"], fcntl.F_GETPIPE_SZ) < PIPE:
            pytest.skip("this user has too many pipes already")
        fcntl.fcntl(pipes["child_stdout"], fcntl.F_SETFL, os.O_NONBLOCK)
        assert os.write(pipes["child_stdout"], bytes(PIPE)) == PIPE
        assert options.readfd(pipes["stdout"]) == bytes(PIPE)
        assert options.readfd(pipes["stdout"]) == b""
    finally:
        for end in filter(None, pipes.values()):
            os.close(end)
