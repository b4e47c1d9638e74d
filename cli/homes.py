"""Home cores: where each encoder of a local mesh computes, where one core is enough for it.

The encoders of a request begin in the same moment. Left to the system, a light one gets in the way
of the one that the request waits for, and each meets caches that another has filled: on two cores a
single client then waits a tenth longer. A node's further workers, which compute only while a core
is idle, roam over all of them (mesh.cores).
"""

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx

from cli.readiness import PATIENCE
from cli.topology import ENCODERS
from cli.watch import Watched
from mesh.cores import ROAMING

# The processors that share one core's caches, by their numbers.
Core = frozenset[int]

# What a node says of itself: seconds of a core for a usual input, None where it has another device.
COST: Final = "core_seconds"


class Homes:
    """Gives encoders their cores, as they become ready."""

    def __init__(self, cores: Sequence[Core]) -> None:
        self._cores = cores

    async def settle(self, ready: Iterable[Watched]) -> None:
        """Move those that compute on one thread to their cores; the others stay everywhere."""
        pids = {
            watched.process.ready_url.removesuffix("readyz"): watched.pid
            for watched in ready
            if watched.process.name in ENCODERS and watched.process.env["MESH_THREADS"] == "1"
        }
        # Not through a proxy; and what TLS needs takes longer to read than all the rest.
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=PATIENCE) as client:
            costs = await asyncio.gather(*(_cost(client, url) for url in pids))
        known = {url: cost for url, cost in zip(pids, costs, strict=True) if cost}
        for url, core in shared_out(known, self._cores).items():
            move(pids[url], core)


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


async def _cost(client: httpx.AsyncClient, url: str) -> float | None:
    """What the node behind an ops port says; None where it says nothing of use."""
    try:
        return float((await client.get(f"{url}info")).json()[COST])
    except (httpx.HTTPError, ValueError, TypeError, LookupError):
        return None
