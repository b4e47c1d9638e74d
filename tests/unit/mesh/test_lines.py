"""Log lines on their way out."""

import io
import logging
import os
import threading
import time

import pytest

from mesh.later import MOST
from mesh.lines import Lines
from tests.fake_models import PATIENCE

PAUSE = 0.05


class Stream(io.StringIO):
    """Counts how often it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, text: str) -> int:
        """As any stream."""
        self.writes += 1
        return super().write(text)


@pytest.fixture
def stream() -> Stream:
    """Where lines go."""
    return Stream()


@pytest.fixture
def lines(stream: Stream) -> Lines:
    """The way there."""
    return Lines(stream, PAUSE)


def record(text: str, level: int = logging.INFO) -> logging.LogRecord:
    """What a logger hands on."""
    return logging.LogRecord("test", level, __file__, 1, text, None, None)


def wait_for(stream: Stream, text: str) -> None:
    """Until it was written."""
    end = time.monotonic() + PATIENCE
    while stream.getvalue() != text and time.monotonic() < end:
        time.sleep(0.005)
    assert stream.getvalue() == text


def test_a_single_line_is_written_at_once(lines: Lines, stream: Stream) -> None:
    """Whoever watches a quiet process sees what happens when it happens."""
    lines.emit(record("one"))
    assert stream.getvalue() == "one\n"


def test_without_a_pause_every_line_is_written_at_once(stream: Stream) -> None:
    """A process that hangs the next moment has told of it."""
    lines = Lines(stream)
    for number in range(3):
        lines.emit(record(str(number)))
    assert (stream.getvalue(), stream.writes) == ("0\n1\n2\n", 3)


def test_lines_that_come_quickly_are_written_together(lines: Lines, stream: Stream) -> None:
    """Soon, in their order, and though nothing more is logged."""
    for number in range(100):
        lines.emit(record(str(number)))
    wait_for(stream, "".join(f"{number}\n" for number in range(100)))
    assert stream.writes < 10


def test_a_warning_is_not_kept_back(lines: Lines, stream: Stream) -> None:
    """Nor what came before it: the process may end by what it warns of."""
    lines.emit(record("one"))
    lines.emit(record("two"))
    lines.emit(record("three", logging.WARNING))
    assert stream.getvalue() == "one\ntwo\nthree\n"


def test_lines_do_not_pile_up(lines: Lines, stream: Stream) -> None:
    """Where a process logs more than anybody takes, it is held up."""
    lines._lines._done = time.monotonic() + PATIENCE  # Never quiet.
    lines._lines._flush_soon = lambda: None  # type: ignore[method-assign]  # The writer is slow.
    for number in range(MOST - 1):
        lines.emit(record(str(number)))
    assert stream.writes == 0
    lines.emit(record("last"))
    assert stream.getvalue().endswith("\nlast\n")


def test_what_waits_is_written_when_asked_for(lines: Lines, stream: Stream) -> None:
    """As at the end of a process."""
    lines.emit(record("one"))
    lines.emit(record("two"))
    lines.flush()
    assert stream.getvalue() == "one\ntwo\n"


def test_lines_of_many_threads_stay_whole(lines: Lines, stream: Stream) -> None:
    """And none is lost."""

    def work(name: str) -> None:
        for number in range(200):
            lines.emit(record(f"{name} {number}"))

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines.flush()
    expected = sorted(f"{name} {number}" for name in range(8) for number in range(200))
    assert sorted(stream.getvalue().splitlines()) == expected


def test_what_can_not_be_written_does_not_reach_whoever_logs(lines: Lines, stream: Stream) -> None:
    """A log that nobody can read must not fail requests."""
    stream.close()
    lines.emit(record("one", logging.ERROR))
    lines.take(logging.ERROR, "two")


class Logging(Stream):
    """Something logs while it is written to, as a `__del__` may that Python runs meanwhile."""

    lines: Lines

    def write(self, text: str) -> int:
        """Log once."""
        if self.writes == 0:
            self.writes = 1
            self.lines.take(logging.ERROR, "of the writing")
        return super().write(text)


def test_what_is_logged_by_writing_is_written_next() -> None:
    """And nobody waits for themselves."""
    stream = Logging()
    stream.lines = Lines(stream)
    stream.lines.take(logging.ERROR, "one")
    assert stream.getvalue() == "one\nof the writing\n"


def test_records_of_the_standard_library_are_filtered(lines: Lines, stream: Stream) -> None:
    """As by every handler."""
    lines.addFilter(lambda record: record.getMessage() != "secret")
    assert not lines.handle(record("secret"))
    assert lines.handle(record("one"))
    assert stream.getvalue() == "one\n"


def test_a_forked_process_does_not_write_its_parents_lines(stream: Stream) -> None:
    """They would be there twice. It writes its own."""
    lines = Lines(stream, PATIENCE)
    lines.emit(record("one"))
    lines.emit(record("two"))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        lines.emit(record("three"))
        os.write(writer, stream.getvalue().encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as told:
        assert told.read() == "one\nthree\n"
    lines.flush()
    assert stream.getvalue() == "one\ntwo\n"


def test_without_a_thread_to_wait_lines_are_written_at_once(
    lines: Lines, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that may have no further one logs on."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for number in range(3):
        lines.take(logging.INFO, str(number))
    assert stream.getvalue() == "0\n1\n2\n"
