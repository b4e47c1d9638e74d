"""The program benchmarks.ceiling: loaded once, and idle but when it is told to compute."""

import contextlib
import json
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from benchmarks.processes import MALLOC, BenchError, Command, last_words, running
from benchmarks.setup import Setup

# Seconds: in which it has loaded and done what it was told first, and in which it ends.
LOADED: Final = 300.0
END: Final = 10.0


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One way to do the complete work without a server; `log` is where its errors are."""

    orders: IO[bytes]
    answers: IO[bytes]
    log: Path

    def measure(self, batch: int, seconds: float) -> dict[str, float]:
        """Its requests a second and the median seconds of a batch; BenchError where it fails."""
        with contextlib.suppress(BrokenPipeError):  # Then it has ended, and answers nothing.
            self.orders.write(f"{batch} {seconds}\n".encode())
        if not select.select([self.answers], [], [], LOADED + seconds)[0]:
            raise BenchError(f"the ceiling did not answer in {LOADED + seconds:g} s")
        if not (line := self.answers.readline()):
            reason = last_words(self.log).rpartition("\n")[2]  # That of a traceback.
            raise BenchError(reason or "the ceiling ended without a word")
        found: dict[str, Any] = json.loads(line)
        return found


@contextlib.contextmanager
def ceiling(
    setup: Setup, processes: int, parts: Mapping[str, float], log: Path
) -> Iterator[Ceiling]:
    """Run it while the block lasts, in so many processes. They have loaded when it begins."""
    layout = setup.engine, setup.dtype, str(processes), str(setup.threads), json.dumps(parts)
    argv = [sys.executable, "-m", "benchmarks.ceiling", *layout]
    with running(Command(argv, log, MALLOC, told=True)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin as orders, process.stdout as answers:
            found = Ceiling(orders, answers, log)
            found.measure(1, 0)
            yield found
            orders.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END)
