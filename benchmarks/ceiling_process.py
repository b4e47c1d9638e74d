"""The program benchmarks.ceiling: loaded once, and idle but when it is told to compute."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

from benchmarks.processes import MALLOC, BenchError, Command, running, wait_until
from benchmarks.setup import Setup

# Seconds in which it has loaded and done what it was told first.
LOADED: Final = 300.0


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One way to do the complete work without a server."""

    process: Popen[bytes]
    log: Path

    def measure(self, batch: int, seconds: float) -> dict[str, float]:
        """Its requests a second and the median seconds of a batch; BenchError where it fails."""
        before = len(self._answers())
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # What waits for it tells why.
            self.process.stdin.write(f"{batch} {seconds}\n".encode())
            self.process.stdin.flush()
        try:
            wait_until(
                self.process, self.log, LOADED + seconds, lambda: len(self._answers()) > before
            )
        except BenchError as error:  # Its last line is that of a traceback.
            raise BenchError(str(error).rpartition("\n")[2]) from error
        return self._answers()[before]

    def _answers(self) -> list[dict[str, Any]]:
        lines = self.log.read_text(errors="replace").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]


@contextlib.contextmanager
def ceiling(setup: Setup, processes: int, log: Path) -> Iterator[Ceiling]:
    """Run it while the block lasts, in so many processes."""
    layout = setup.engine, setup.dtype, str(processes), str(setup.threads)
    argv = [sys.executable, "-m", "benchmarks.ceiling", *layout]
    with running(Command(argv, log, MALLOC, told=True)) as process:
        yield Ceiling(process, log)
