"""When supervisord looks at what its processes have logged, and how much of it waits."""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from cli import log_pipes
from cli.log_pipes import PIPE, LogOptions, LogPoller
from cli.zygote import Options

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no pipe is enlarged")

# Seconds: more than a test should take, and a pause that none waits out.
LONG = 20.0


class Pipe(NamedTuple):
    """Its end that is read, and the one that is written to."""

    read: int
    write: int

    def close(self) -> None:
        """Both ends."""
        for end in self:
            os.close(end)


@pytest.fixture
def log() -> Iterator[Pipe]:
    """One by which a process logs."""
    made = LogOptions.__new__(LogOptions).make_pipes(stderr=False)
    for end in (made["stdin"], made["child_stdin"]):
        os.close(end)
    pipe = Pipe(made["stdout"], made["child_stdout"])
    yield pipe
    pipe.close()


@pytest.fixture(autouse=True)
def _allowed(other: Pipe) -> None:
    """Skips where this user may have no large pipe."""
    try:
        before = fcntl.fcntl(other.read, fcntl.F_GETPIPE_SZ)
        fcntl.fcntl(other.read, fcntl.F_SETPIPE_SZ, PIPE)
        fcntl.fcntl(other.read, fcntl.F_SETPIPE_SZ, before)
    except OSError as error:
        pytest.skip(f"no pipe can be enlarged: {error}")


@pytest.fixture
def other() -> Iterator[Pipe]:
    """Any other one."""
    pipe = Pipe(*os.pipe())
    yield pipe
    pipe.close()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Its `now` is the time. Pauses are LONG, so that one that is waited out is a failure."""
    made = SimpleNamespace(now=100.0)
    monkeypatch.setattr(log_pipes, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(log_pipes, "PAUSE", LONG)
    return made


@pytest.fixture
def poller(log: Pipe, other: Pipe) -> Any:
    """One that watches both, and has just seen something logged."""
    made = LogPoller(SimpleNamespace(), lambda: [log.read])
    for pipe in (log, other):
        made.register_readable(pipe.read)
    os.write(log.write, b"line")
    assert made.poll(LONG) == ([log.read], [])  # The first line after a while does not wait.
    return made


def test_nothing_else_waits_for_logs(
    poller: Any, log: Pipe, other: Pipe, clock: SimpleNamespace
) -> None:
    """As an end of a process, which is to be started again. Logs don't wait for that either."""
    os.write(other.write, b"!")
    assert poller.poll(LONG) == ([other.read], [])  # Though the log has something, too.
    assert poller.readables == {log.read, other.read}
    clock.now += LONG
    assert sorted(poller.poll(LONG)[0]) == sorted([log.read, other.read])


def test_what_is_logged_waits_for_more_until_the_pause_is_over(
    poller: Any, log: Pipe, clock: SimpleNamespace
) -> None:
    """Else each line costs a turn of supervisord's loop."""
    clock.now += LONG - 0.05
    start = time.monotonic()
    assert poller.poll(LONG) == ([log.read], [])
    assert time.monotonic() - start >= 0.05
    clock.now += LONG
    assert poller.poll(0) == ([log.read], [])


def test_nothing_waits_in_a_small_pipe(log: Pipe, other: Pipe) -> None:
    """Its writer would have to wait, too. Linux gives small ones to who has many."""
    small, large = other, log
    made = LogPoller(SimpleNamespace(), lambda: [small.read])
    for pipe in (small, large):
        made.register_readable(pipe.read)
        os.write(pipe.write, b"line")
    for _ in range(2):
        assert sorted(made.poll(LONG)[0]) == sorted([small.read, large.read])


def test_a_log_that_was_closed_meanwhile_is_forgotten(poller: Any, log: Pipe) -> None:
    """By then supervisord has taken all that its process wrote."""
    spare = os.dup(log.read)
    os.close(log.read)
    assert poller.poll(0) == ([], [])
    assert log.read not in poller.readables
    os.dup2(spare, log.read)
    os.close(spare)


def test_a_pipe_holds_what_comes_in_a_pause(log: Pipe) -> None:
    """No writer has to wait for supervisord, unless it logs ten mebibytes a second."""
    options = LogOptions.__new__(LogOptions)
    fcntl.fcntl(log.write, fcntl.F_SETFL, os.O_NONBLOCK)
    assert os.write(log.write, bytes(PIPE)) == PIPE
    assert options.readfd(log.read) == bytes(PIPE)
    assert options.readfd(log.read) == b""


def test_the_process_manager_has_such_pipes() -> None:
    """In which its poller lets things wait."""
    assert issubclass(Options, LogOptions)
