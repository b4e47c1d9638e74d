"""What becomes of a node whose measuring process goes wrong."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mesh.command import _measure_apart
from mesh.errors import MeshError


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is run in Python's place."""
    file = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(file))
    return file


def test_a_process_that_can_not_be_started_is_only_logged(python: Path) -> None:
    """The node measures itself then."""
    with capture_logs() as lines:
        _measure_apart("services.none")
    [line] = lines
    assert (line["event"], "No such file" in line["reason"]) == ("not_measured_apart", True)


@pytest.mark.parametrize(
    ("does", "reason"), [("exit 3", "exit code 3"), ("kill -KILL $$", "exit code -9")]
)
def test_a_process_that_fails_is_only_logged(python: Path, does: str, reason: str) -> None:
    """Be it that the system had no memory for it."""
    _write(python, does)
    with capture_logs() as lines:
        _measure_apart("services.none")
    assert [line["reason"] for line in lines] == [reason]


@pytest.fixture
def _heeded() -> Iterator[None]:
    """A shell that runs the tests in the background has Ctrl-C ignored, by what they start too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heeded")
@pytest.mark.parametrize("sent", ["INT", "TERM"])
def test_a_process_that_is_told_to_stop_stops_the_node_too(python: Path, sent: str) -> None:
    """Whoever tells it tells the node as well."""
    _write(python, f"kill -{sent} $$")
    with pytest.raises(MeshError, match="stopped while"):
        _measure_apart("services.none")


def test_the_process_is_told_whose_it_is(python: Path, tmp_path: Path) -> None:
    """To end with it."""
    _write(python, f'echo "$*" > {tmp_path}/argv')
    _measure_apart("services.none")
    words = (tmp_path / "argv").read_text().split()
    assert words[:3] == ["-m", "services.none", "measure"]
    assert words[3].isdecimal()


def _write(python: Path, line: str) -> None:
    python.write_text(f"#!/bin/sh\n{line}\n")
    python.chmod(0o700)
