"""Start: seconds from `sensemesh up` to its first answer, cold and warm."""

import contextlib
import os
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.inputs import ROOT
from benchmarks.mesh_process import mesh


def run(bench: Bench) -> None:
    """By turns: cold, which reads and compiles everything anew, and warm, right after it."""
    for _ in range(bench.plan.runs):
        with tempfile.TemporaryDirectory() as cache:
            settings = {"XDG_CACHE_HOME": cache}
            forget([Path(sysconfig.get_path("purelib")), ROOT / "models"])
            for name in ("cold", "warm"):
                with mesh(bench.folder / "logs/mesh", settings) as ours:
                    bench.add(name, "s", ours.seconds)


def forget(folders: list[Path]) -> None:
    """Have the kernel drop its copies of files, but those that another process has mapped."""
    for folder in folders:
        for file in _files(folder):
            with contextlib.suppress(OSError):
                descriptor = os.open(file, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
