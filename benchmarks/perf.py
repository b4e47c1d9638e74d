"""What the cores do, by perf: samples of all of them, told apart by process and by library."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.processes import BenchError

# Samples of each core in a second, and the share of them that has to come: the kernel takes fewer
# where it finds that sampling costs too much.
HERTZ: Final = 999
LEAST: Final = 0.5
# Seconds beyond those that are sampled: perf starts, writes, and reads what it wrote.
OVERTIME: Final = 60.0
OTHER: Final = "other"
NETWORKS: Final = "the networks"
# Who is known by the name of its threads, whatever library they are in.
THREADS: Final = {
    "swapper": "idle",
    "wrk": "wrk",
    "redis-server": "Redis",
    "valkey-server": "Redis",
}
# Else by the file, of which the name begins so. What oneDNN compiles is in "perf-PID.map".
FILES: Final = {
    NETWORKS: (
        "perf-", "libopenvino", "_pyopenvino", "libtbb", "libhwloc", "libtorch", "libc10",
        "libgomp", "libmkl", "libdnnl",
    ),
    "decoding and transforms": (
        "_imaging", "libjpeg", "libsndfile", "_cffi_backend", "tokenizers", "_multiarray_umath",
        "libscipy_openblas", "pypocketfft", "_sparsetools", "_uarray",
    ),
    "Python": ("libpython", "python"),
    "libc": ("libc.", "libm.", "libstdc++", "libgcc", "ld-linux", "[vdso]"),
    "the kernel": ("[kernel", "[guest.kernel"),
    "gRPC and protobuf": ("cygrpc", "_message"),
    "loops, HTTP and hashing": (
        "loop.", "_granian", "blake3", "mosec", "_cmsgpack", "parser.", "_zmq",
    ),
}  # fmt: skip
# Python's own extensions have all kinds of names.
EXTENSIONS: Final = "lib-dynload"
GROUPS: Final = (*FILES, *dict.fromkeys(THREADS.values()), OTHER)
# A line of perf script: a thread's name, its process, an address, a file.
LINE: Final = re.compile(r"\s*(?P<thread>.+?)\s+(?P<pid>-?\d+)\s+[0-9a-f]+\s+\((?P<file>.+)\)\s*")


@dataclass(frozen=True, slots=True)
class Sample:
    """What one core did in one moment, and for which process."""

    pid: int
    group: str


def require_perf(file: Path) -> None:
    """BenchError where perf is not installed, or may not sample; it writes to `file`."""
    if shutil.which("perf") is None:
        raise BenchError("perf, which samples the cores, is not installed: apt install linux-perf")
    record(0.1, file)


def record(seconds: float, file: Path) -> float:
    """Sample all cores by their clock, into a file; BenchError where perf may not, or fails.

    Returns the moment at which it ended, by CLOCK_BOOTTIME: to write takes perf seconds more.
    """
    how = ["-q", "--no-buildid", "-e", "cpu-clock", "-F", str(HERTZ), "-a", "-o", str(file)]
    sampled = ["sh", "-c", f"sleep {seconds}; cat /proc/uptime"]
    told = _perf(["record", *how, "--", *sampled], seconds + OVERTIME)
    try:
        return float(told.split()[0])
    except (ValueError, IndexError) as error:
        raise BenchError(f"perf record did not run what it was told: {told!r}") from error


def read(file: Path, seconds: float) -> list[Sample]:
    """What was recorded in so many seconds; BenchError where much of it is missing."""
    samples = parse(_perf(["script", "-i", str(file), "-F", "comm,pid,ip,dso"], OVERTIME))
    due = seconds * HERTZ * (os.cpu_count() or 1)
    if not samples or len(samples) < LEAST * due:
        raise BenchError(f"perf took {len(samples)} samples of {due:.0f}")
    return samples


def _perf(arguments: list[str], seconds: float) -> str:
    argv = ["perf", *arguments]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=seconds)
    except subprocess.CalledProcessError as error:
        raise BenchError(f"perf {arguments[0]} failed: {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"perf {arguments[0]} took over {seconds:g} s") from error
    return done.stdout


def parse(script: str) -> list[Sample]:
    """Samples of the lines that perf script prints; BenchError where one is no sample."""
    return [_sample(line) for line in script.splitlines() if line and not line.startswith("#")]


def _sample(line: str) -> Sample:
    if not (found := LINE.fullmatch(line)):
        raise BenchError(f"perf prints what is no sample: {line!r}")
    return Sample(int(found["pid"]), _group(found["thread"], found["file"]))


def _group(thread: str, file: str) -> str:
    if thread in THREADS:
        return THREADS[thread]
    folder, _, name = file.rpartition("/")
    if folder.endswith(EXTENSIONS):
        return "Python"
    return next((group for group, names in FILES.items() if name.startswith(names)), OTHER)


def counted(samples: Iterable[Sample]) -> dict[str, int]:
    """How many samples each group has, 0 where none."""
    counts = dict.fromkeys(GROUPS, 0)
    for one in samples:
        counts[one.group] += 1
    return counts
