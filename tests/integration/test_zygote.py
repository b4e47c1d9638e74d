"""The process manager, whose children are forks of it with their modules loaded."""

import asyncio
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cli.supervision import supervised
from cli.topology import Process
from tests.integration.fake_mesh import WORD

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")

LOG = "supervisor.log"
PACKAGE = "tests.integration.loaded_ahead"


async def run(how: str, logs: Path, until: str) -> list[str]:
    """What that package says, up to supervisor's log's telling so of it; then all is stopped."""
    argv = (sys.executable, "-m", PACKAGE, how)
    process = Process("fake", argv, {"MESH_WORD": WORD}, "", rank=1, essential=True)
    async with asyncio.timeout(30), supervised([process], logs, Path.cwd(), asyncio.Event()):
        while until not in _read(logs / LOG):
            await asyncio.sleep(0.05)
        while not _read(logs / "fake.log"):
            await asyncio.sleep(0.05)
    return _read(logs / "fake.log").splitlines()


def _read(log: Path) -> str:
    return log.read_text() if log.exists() else ""


async def test_a_fork_is_as_a_new_process_would_be(tmp_path: Path) -> None:
    """But for what it has loaded: its own settings, arguments, signals and name, no open files."""
    said: dict[str, Any] = json.loads((await run("status", tmp_path, "exit status 3"))[0])
    assert said["forked"]
    assert (said["arguments"], said["word"]) == (["status"], WORD)
    assert said["handled"] == [signal.SIGINT]
    assert said["title"] == f"{sys.executable} -m {PACKAGE} status"
    assert len(said["open"]) == 4  # One of them is the folder that is being listed.


async def test_a_forks_last_words_are_in_its_log(tmp_path: Path) -> None:
    """And its status is 1, as Python's would be."""
    assert (await run("words", tmp_path, "exit status 1"))[-1] == "the model is broken"


async def test_an_error_that_ends_a_fork_is_logged(tmp_path: Path) -> None:
    """In one line of JSON, as all that is logged."""
    line = json.loads((await run("error", tmp_path, "exit status 1"))[-1])
    assert line["event"] == "uncaught_exception"
    assert "LookupError: there is no model" in line["exception"]


async def test_a_fork_is_told_to_stop(tmp_path: Path) -> None:
    """By the signal that it waits for, which its parent handles otherwise."""
    await run("serve", tmp_path, "spawned")
    assert "stopped: fake (exit status 0)" in _read(tmp_path / LOG)


@pytest.mark.parametrize("how", ["serve", "share"])
async def test_what_ended_is_started_again_at_once(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it died young. Supervisord by itself would do so in a turn that a second brings.

    It notices the end of a log, but not where another process may write to it, too.
    """
    monkeypatch.setattr("cli.supervision.YOUNG", 1)
    argv = (sys.executable, "-m", PACKAGE, how)
    process, log = Process("fake", argv, {"MESH_WORD": WORD}, "", rank=1), tmp_path / LOG
    async with asyncio.timeout(30), supervised([process], tmp_path, Path.cwd(), asyncio.Event()):
        while "RUNNING" not in _read(log):
            await asyncio.sleep(0.05)
        [pid] = re.findall(r"'fake' with pid (\d+)", _read(log))
        os.kill(int(pid), signal.SIGKILL)
        killed = time.monotonic()
        while _read(log).count("spawned") < 2:
            await asyncio.sleep(0.01)
        assert time.monotonic() - killed < 0.5
