"""Home cores: where each process of a local mesh runs, where one core is enough for it.

The encoders of a request begin in the same moment. Left to the system, a light one gets in the way
of the one that the request waits for, and each meets caches that another has filled: on two cores a
single client then waits a tenth longer. A node's further workers, which compute only while a core
is idle, roam over all of them (mesh.cores).

Gateway, fusion and Redis have one home together. A request goes from one to the next, and within
the gateway from thread to thread, of which Python lets one run at a time. To wake a thread on
another core takes as long as what it then does, in a virtual machine some 40 microseconds, and it
finds none of its memory in the caches there. That home is wherever the encoders do least: where
only texts come, it is not the core of the text encoder.
"""

import asyncio
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from cli.local_http import get
from cli.readiness import PATIENCE
from cli.topology import ENCODERS
from cli.watch import Watched
from mesh.cores import ROAMING

# The processors that share one core's caches, by their numbers.
Core = frozenset[int]

FRONT: Final = ("gateway", "fusion", "redis")
# Seconds of a core that a request takes in these, whatever the model.
FRONT_COST: Final = 0.003
# Seconds from one look at what encoders do to the next, and the share of a core by which those of
# another one have to do less for a move to be worth it: a small one, since encoders do less than
# they would where the front holds them up.
LOOK: Final = 1.0
WORTHWHILE: Final = 0.1
TICKS: Final = os.sysconf("SC_CLK_TCK")

# What a node says of itself: seconds of a core for a usual input, None where it has another device.
COST: Final = "core_seconds"


class Homes:
    """Gives processes their cores, as they become ready."""

    def __init__(self, cores: Sequence[Core]) -> None:
        self._cores = cores
        # By process of an encoder, the core that it has; and the seconds that it has computed.
        self._encoders: dict[int, Core] = {}
        self._spent: dict[int, float] = {}
        self._front: list[int] = []
        self._home: Core = frozenset()
        self._looked = 0.0

    async def settle(self, ready: Iterable[Watched]) -> None:
        """Move encoders that compute on one thread to their cores, and what is not an encoder.

        The others stay everywhere; all do where no encoder has a home.
        """
        there = list(ready)
        pids = {
            watched.process.ready_url.removesuffix("readyz"): watched.pid
            for watched in there
            if watched.process.name in ENCODERS and watched.process.env["MESH_THREADS"] == "1"
        }
        costs = await asyncio.gather(*map(_cost, pids))
        known = {url: cost for url, cost in zip(pids, costs, strict=True) if cost}
        homes = shared_out({**known, "front": FRONT_COST} if known else {}, self._cores)
        self._front = _front(there) if known else []
        self._home = homes.pop("front", self._home)
        self._encoders = {pids[url]: core for url, core in homes.items()}
        for pid, core in self._encoders.items():
            move(pid, core)
        self._move_front()
        # What they computed to get ready tells nothing of what they will do.
        self._spent = {}

    def follow(self, now: float) -> None:
        """Take the front to the core whose encoders did least, if that is worth it."""
        if not self._front or now - self._looked < LOOK:
            return
        before, self._spent = self._spent, {pid: spent(pid) for pid in self._encoders}
        busy = dict.fromkeys(self._cores, 0.0)
        for pid, core in self._encoders.items():
            busy[core] += self._spent[pid] - before.get(pid, self._spent[pid])
        least = min(busy, key=lambda core: busy[core])
        if busy[self._home] - busy[least] > WORTHWHILE * (now - self._looked):
            self._home = least
            self._move_front()
        self._looked = now

    def _move_front(self) -> None:
        for pid in self._front:
            move(pid, self._home)


def _front(there: Iterable[Watched]) -> list[int]:
    """The processes of FRONT with their own; none where the gateway has several that serve."""
    families = {one.process.name: family(one.pid) for one in there if one.process.name in FRONT}
    if len(families.get("gateway", ())) > 2:  # The one that the others come from serves nobody.
        return []
    return [pid for pids in families.values() for pid in pids]


def spent(pid: int) -> float:
    """Seconds of a core that a process has computed; 0 where it has just ended."""
    with suppress(OSError):
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / TICKS
    return 0.0


def family(pid: int) -> list[int]:
    """A process, and all that it started; without the latter where the system does not tell."""
    found = [pid]
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += family(int(child))
    return found


def shared_out(costs: Mapping[str, float], cores: Sequence[Core]) -> dict[str, Core]:
    """For each name a core: the dearest first, and always the core with the least to do."""
    loads = dict.fromkeys(cores, 0.0)
    homes = {}
    for name in sorted(costs, key=lambda name: -costs[name]):
        homes[name] = core = min(loads, key=lambda core: loads[core])
        loads[core] += costs[name]
    return homes


def move(pid: int, core: Core) -> None:
    """Let all threads of a process but those that roam, and what they start, run on one core."""
    moved: set[int] = set()
    with suppress(OSError):  # It has just ended, or a sandbox forbids it.
        # One that was still free may have started another meanwhile.
        while threads := set(map(int, os.listdir(f"/proc/{pid}/task"))) - moved:
            for thread in threads:
                with suppress(ProcessLookupError, FileNotFoundError):
                    if Path(f"/proc/{pid}/task/{thread}/comm").read_text().strip() != ROAMING:
                        os.sched_setaffinity(thread, core)
            moved |= threads


async def _cost(url: str) -> float | None:
    """What the node behind an ops port says; None where it says nothing of use."""
    try:
        return float(json.loads((await get(f"{url}info", PATIENCE)).body)[COST])
    except (OSError, ValueError, TypeError, LookupError):
        return None
