"""What the cores do, by perf: samples of all of them, told apart by process and by library."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.processes import BenchError

# Samples of each core in a second.
RATE: Final = 999
# Seconds beyond those that are sampled: perf starts, writes, and reads what it wrote.
OVERTIME: Final = 60.0
NETWORKS: Final = "the networks"
OTHER: Final = "other"
# Who is known by the name of its threads, wherever it computes.
THREADS: Final = {"swapper": "idle", "wrk": "wrk", "valkey-server": "Redis"}
# Else by the library, of which a name begins so; oneDNN compiles into memory that has no file.
LIBRARIES: Final = {
    NETWORKS: (
        *("perf-", "libopenvino", "_pyopenvino", "libtbb", "libhwloc"),
        *("libtorch", "libc10", "libgomp", "libmkl", "libdnnl", "libcu"),
    ),
    "decoding and transforms": (
        *("_imaging", "libjpeg", "libsndfile", "_cffi_backend", "tokenizers"),
        *("_multiarray_umath", "pypocketfft", "_sparsetools", "_uarray"),
    ),
    "Python": ("libpython", "python"),
    "libc": ("libc.", "libm.", "libstdc++", "ld-linux", "libgcc"),
    "the kernel": ("[",),
    "gRPC and protobuf": ("cygrpc", "_message"),
    "uvloop": ("loop.",),
    "Granian": ("_granian",),
    "Mosec": ("mosec",),
}
# Python's own extensions have all kinds of names.
EXTENSIONS: Final = "lib-dynload"
GROUPS: Final = (*LIBRARIES, *dict.fromkeys(THREADS.values()), OTHER)
# A line of perf script: a thread's name, its process, an address, a file.
LINE: Final = re.compile(r"\s*(?P<thread>.+?)\s+(?P<pid>\d+)\s+[0-9a-f]+\s+\((?P<file>.+)\)\s*")


@dataclass(frozen=True, slots=True)
class Sample:
    """What one core did in one moment, and for whom."""

    pid: int
    group: str


def require_perf() -> None:
    """BenchError where perf is not installed."""
    if shutil.which("perf") is None:
        raise BenchError("perf, which samples the cores, is not installed: apt install linux-perf")


def sample(seconds: float, file: Path) -> list[Sample]:
    """Of all cores, by their clock; BenchError where perf is not allowed to, or fails."""
    where = ["-e", "cpu-clock", "-F", str(RATE), "-a", "-o", str(file)]
    _perf(["record", "-q", *where, "--", "sleep", str(seconds)], seconds + OVERTIME)
    samples = parse(_perf(["script", "-i", str(file), "-F", "comm,pid,ip,dso"], OVERTIME))
    if not samples:
        raise BenchError("perf took no samples")
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
    """Samples of the lines that perf script prints."""
    found = (LINE.fullmatch(line) for line in script.splitlines())
    return [Sample(int(one["pid"]), _group(one["thread"], one["file"])) for one in found if one]


def _group(thread: str, file: str) -> str:
    if thread in THREADS:
        return THREADS[thread]
    folder, _, name = file.rpartition("/")
    if folder.endswith(EXTENSIONS):
        return "Python"
    return next((group for group, names in LIBRARIES.items() if name.startswith(names)), OTHER)


def counted(samples: Iterable[Sample]) -> dict[str, int]:
    """How many samples each group has, 0 where none."""
    counts = dict.fromkeys(GROUPS, 0)
    for one in samples:
        counts[one.group] += 1
    return counts
