"""Memory of each process before, early and late in a long run, a tenth of it given up."""

import threading
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import CONNECTIONS, Bench
from benchmarks.cancelling import give_up, require_curl
from benchmarks.load import Closed, Target, send
from benchmarks.mesh_process import Mesh, mesh

# Requests after which memory is weighed, as a share of all.
EARLY: Final = 0.1
GIVEN_UP: Final = 0.1
# Of the inputs of those that are not given up. The others are known, else this took an hour.
FRESH: Final = 0.05
# Numbers that the load's own requests never have.
FIRST: Final = 500
# Seconds of load at a time, and requests that are sent meanwhile to be given up.
TURN: Final = 4
AT_A_TIME: Final = 500
# So that the gateway's own cache is full early, and what grows afterwards is not it.
SETTINGS: Final = {"MESH_CACHE_LRU_BYTES": str(4 * 2**20)}


def run(bench: Bench) -> None:
    """Long runs of light requests, each of a new mesh."""
    require_curl()
    bench.record.fact("settings", SETTINGS)
    for _ in range(bench.plan.runs):
        with mesh(bench.folder / "logs/mesh", SETTINGS) as ours:
            wear = Wear(Target(ours.predict, bench.bodies("light")))
            _weigh(bench, ours, "at the start")
            for name, share in (("early", EARLY), ("late", 1.0)):
                wear.until(int(share * bench.plan.requests))
                bench.record.fact(f"requests: {name}", wear.requests)
                bench.record.fact(f"given up: {name}", wear.given_up)
                _weigh(bench, ours, name)


def _weigh(bench: Bench, ours: Mesh, name: str) -> None:
    for process, mebibytes in ours.memory().items():
        bench.add(f"{process}: {name}", "MiB", mebibytes)


@dataclass(slots=True)
class Wear:
    """Sends requests, and others beside them that are given up."""

    target: Target
    requests: int = 0
    sent: int = 0
    given_up: int = 0

    def until(self, requests: int) -> None:
        """Go on until so many were sent in all, and GIVEN_UP of them were given up."""
        while self.requests < requests or self.given_up < GIVEN_UP * requests:
            missing = max(0, int(GIVEN_UP * requests) - self.given_up)
            beside = threading.Thread(target=self._give_up, args=[min(AT_A_TIME, missing)])
            beside.start()
            # Those that were given up keep their places until they are computed: few may be left.
            answered = send(self.target, Closed(CONNECTIONS, TURN, FRESH))
            beside.join()
            self.requests += answered

    def _give_up(self, count: int) -> None:
        if count:
            # Some of them are answered before.
            self.given_up += give_up(self.target, FIRST + self.sent, count)
        self.sent += count
        self.requests += count
