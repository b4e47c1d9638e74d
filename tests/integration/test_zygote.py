"""The process manager, whose children are forks of it with their modules loaded."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.fake_mesh import WORD
from tests.integration.forking import PACKAGE, read

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")


def run(how: str, logs: Path, until: str) -> list[str]:
    """What that package says, up to supervisor's log's telling so of it; then all is stopped."""
    argv = [sys.executable, "-m", "tests.integration.forking", str(logs), how, until]
    subprocess.run(argv, check=True, timeout=60)
    return read(logs / "fake.log").splitlines()


def test_a_fork_is_as_a_new_process_would_be(tmp_path: Path) -> None:
    """But for what it has loaded: its own settings, arguments, signals and name, no open files."""
    said: dict[str, Any] = json.loads(run("status", tmp_path, "exit status 3")[0])
    assert said["forked"]
    assert (said["arguments"], said["word"]) == (["status"], WORD)
    assert said["handled"] == [signal.SIGINT]
    assert said["title"] == f"{sys.executable} -m {PACKAGE} status"
    assert len(said["open"]) == 4  # One of them is the folder that is being listed.


def test_a_forks_last_words_are_in_its_log(tmp_path: Path) -> None:
    """And its status is 1, as Python's would be."""
    assert run("words", tmp_path, "exit status 1")[-1] == "the model is broken"


def test_an_error_that_ends_a_fork_is_logged(tmp_path: Path) -> None:
    """In one line of JSON, as all that is logged."""
    line = json.loads(run("error", tmp_path, "exit status 1")[-1])
    assert line["event"] == "uncaught_exception"
    assert "LookupError: there is no model" in line["exception"]


def test_a_fork_is_told_to_stop(tmp_path: Path) -> None:
    """By the signal that it waits for, which its parent handles otherwise."""
    run("serve", tmp_path, "spawned")
    assert "stopped: fake (exit status 0)" in read(tmp_path / "supervisor.log")
