"""The cores that a model on a CPU shares with preprocessing, the other nodes and the gateway."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Seconds that a batch waits for items that are being preprocessed: about what a few of them need.
PATIENCE: Final = 0.02
# Seconds until who found no idle core looks for one again: no system tells when there is one.
LOOK_AGAIN: Final = 0.01
LOAD: Final = "/proc/loadavg"
# The name, as the system shows it, of threads that take whichever core is idle.
ROAMING: Final = "roaming"


@dataclass(frozen=True, slots=True)
class Sharing:
    """How batches make way for what else needs the cores.

    `patience`: seconds for which a batch waits at most for items that hold a place already.
    `crowded`: whether a batch beside those that run would have to wait for a core. Never raises.
    `spare`: whether workers beyond the first stay away until they are needed (mesh.spares).
    """

    patience: float
    crowded: Callable[[], bool]
    spare: bool = False


# A device that is nobody else's.
ALONE: Final = Sharing(0.0, lambda: False)


def on_cpu() -> Sharing:
    """That of a model on this machine's CPU."""
    return Sharing(PATIENCE, _Cores().crowded, spare=True)


def roam(thread: int) -> None:
    """Mark a thread, by its native id, as one without a home: `sensemesh up` leaves it on all."""
    with contextlib.suppress(OSError):  # Other systems have no such file, and no homes.
        Path(f"/proc/self/task/{thread}/comm").write_text(ROAMING)


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
