"""A command that runs a local mesh, in a process of its own, for tests to watch and to hurt."""

import contextlib
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from tests.waiting import within

# How long, in seconds, an end may take, or a line.
GRACE: Final = 30.0


class RunningMesh:
    """The command, what it says, and all the processes that it started; `logs` is its folder."""

    def __init__(self, argv: Sequence[str], logs: Path, **env: str) -> None:
        self.process = subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **env},
        )
        self.logs = logs
        self._offspring: set[psutil.Process] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self._hurry()
        # The manager is the oldest: killed first, it starts nothing again.
        for left in sorted(self._offspring, key=lambda process: process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()

    def _hurry(self) -> None:
        """End it by two signals, as somebody in a hurry does, or else by force."""
        try:
            self.process.terminate()
            self.until("again to stop at once")
            self.process.terminate()
            self.process.communicate(timeout=GRACE)
        except (AssertionError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.communicate()

    def until(self, words: str) -> str:
        """The next line that it says with these words in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if words in line:
                self._offspring |= set(psutil.Process(self.process.pid).children(recursive=True))
                return line
        raise AssertionError(f"it ended without saying {words!r}")

    def pid(self, name: str) -> int:
        """The process id of the last life of a process, by supervisor's log."""
        log = (self.logs / "supervisor.log").read_text()
        return int(re.findall(rf"spawned: '{name}' with pid (\d+)", log)[-1])

    def logged(self, name: str, words: str) -> list[str]:
        """The lines of a process's log with these words in them, as soon as there is one."""

        def found() -> list[str]:
            lines = (self.logs / f"{name}.log").read_text().splitlines()
            return [line for line in lines if words in line]

        within(GRACE, lambda: bool(found()), lambda: f"{name} did not log {words!r}")
        return found()

    def finish(self) -> tuple[int, str]:
        """Wait for its end: its exit status, and what it said since `until`."""
        said, _ = self.process.communicate(timeout=GRACE)
        return self.process.returncode, said

    def left_behind(self) -> list[psutil.Process]:
        """What it started and is still there a while after it ended."""
        return psutil.wait_procs(self._offspring, timeout=GRACE)[1]
