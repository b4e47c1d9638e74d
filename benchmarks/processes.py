"""Processes of a measurement: started, waited for, weighed, and every one of them ended."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from benchmarks.inputs import ROOT
from cli import homes

# Seconds.
POLL: Final = 0.02
STOP: Final = 40.0
# Lines of its log that tell why a process failed.
TAIL: Final = 15
# As a mesh's nodes raise them: else the arithmetic of batches maps and unmaps memory all the time.
MALLOC: Final = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
# From <linux/prctl.h>.
PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36


# What was started here and has not ended, by its ids.
_running: list[int] = []


class BenchError(Exception):
    """A measurement can't be taken here, or not be trusted; the message says why."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: `env` comes on top of the environment without its MESH_*, `log` takes output.

    One that is `told` what to do reads it from its input and answers by its output; `log` has only
    its errors then. Others have no input.
    """

    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = ROOT
    told: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """All variables; the user's own settings would measure another mesh."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MESH_")}
        return inherited | {"PYTHONPATH": str(ROOT)} | dict(self.env)


@contextlib.contextmanager
def running(command: Command) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process while the block lasts; it and all that it started end with it."""
    before = _offspring()
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("wb") as output:
        process = subprocess.Popen(
            command.argv,
            cwd=command.cwd,
            env=command.environment,
            stdin=subprocess.PIPE if command.told else subprocess.DEVNULL,
            stdout=subprocess.PIPE if command.told else output,
            stderr=output,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for us, who end the others in order.
            preexec_fn=_end_with_parent,
        )
    _running.append(process.pid)
    try:
        yield process
    finally:
        _running.remove(process.pid)
        _end(process, before)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def adopt_orphans() -> None:
    """Become the parent of processes whose own one ends, so that none is lost from sight."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def _offspring() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _end(process: subprocess.Popen[bytes], before: set[psutil.Process]) -> None:
    """Ask it to end, then kill what is left of it.

    What ran before it is left alone, and what has begun since and is of others that still run.
    """
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP)
    others = set(family(_running))
    left = {one for one in _offspring() - before if one.pid not in others}
    for one in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(left, timeout=STOP)


def wait_until(
    process: subprocess.Popen[bytes], log: Path, seconds: float, done: Callable[[], bool]
) -> None:
    """Return once `done`; BenchError with the log's last lines where that is not in time."""
    deadline = time.monotonic() + seconds
    while not done():
        if process.poll() is not None:
            raise BenchError(f"it ended with {process.returncode}:\n{last_words(log)}")
        if time.monotonic() > deadline:
            raise BenchError(f"it was not ready after {seconds:g} s:\n{last_words(log)}")
        time.sleep(POLL)


def last_words(log: Path) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-TAIL:])


def family(pids: Iterable[int]) -> list[int]:
    """These processes and all that stand below them."""
    return [one for pid in pids for one in homes.family(pid)]


def memory(pids: Iterable[int]) -> float:
    """Resident MiB of processes: each page shared by n of them counts 1/n (proc_pid_smaps(5))."""
    return sum(_pss(pid) for pid in pids) / 1024


def _pss(pid: int) -> int:
    """In KiB; none where the process has just ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
