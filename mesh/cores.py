"""The cores that a model on a CPU shares with preprocessing, the other nodes and the gateway."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

# Seconds that a batch waits for items that are being preprocessed: about what a few of them need.
PATIENCE: Final = 0.02
LOAD: Final = "/proc/loadavg"
# What this process was given; `sensemesh up` may give it a home among them later.
CORES: Final = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Sharing:
    """How batches make way for what else needs the cores.

    `patience`: seconds for which a batch waits at most for items that hold a place already.
    `crowded`: whether a batch beside those that run would have to wait for a core. Never raises.
    """

    patience: float
    crowded: Callable[[], bool]


# A device that is nobody else's.
ALONE: Final = Sharing(0.0, lambda: False)


def on_cpu() -> Sharing:
    """That of a model on this machine's CPU."""
    return Sharing(PATIENCE, _Cores().crowded)


def roaming(work: Callable[P, R]) -> Callable[P, R]:
    """A function on whose thread the process's home core does not bind: it takes any of CORES."""

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if CORES:
            with contextlib.suppress(OSError):  # They may have been taken away since.
                os.sched_setaffinity(0, CORES)
        return work(*args, **kwargs)

    return run


class _Cores:
    """The whole machine's cores, as Linux tells how many threads run or wait for one.

    A container's quota is not seen: there MESH_WORKERS has to fit it.
    """

    def __init__(self) -> None:
        self._count = os.cpu_count() or 1
        self._file = -1
        with contextlib.suppress(OSError):  # Other systems, and some sandboxes, have none.
            self._file = os.open(LOAD, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def crowded(self) -> bool:
        """Whether other threads than the caller's take all cores; False where nobody tells."""
        try:
            return _running(os.pread(self._file, 128, 0)) - 1 >= self._count
        except (OSError, ValueError, IndexError):
            return False


def _running(load: bytes) -> int:
    """Of the line "0.42 0.37 0.31 3/245 4711" the 3."""
    return int(load.split()[3].partition(b"/")[0])
