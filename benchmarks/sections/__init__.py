"""The sections of the benchmark by name, in the order in which all are run."""

from collections.abc import Callable, Mapping
from typing import Final

from benchmarks.bench import Bench
from benchmarks.sections import (
    batches,
    ceiling,
    latency,
    memory,
    mixes,
    overload,
    peers,
    profile,
    scaling,
    start,
)

SECTIONS: Final[Mapping[str, Callable[[Bench], None]]] = {
    "ceiling": ceiling.run,
    "batches": batches.run,
    "peers": peers.run,
    "profile": profile.run,
    "mixes": mixes.run,
    "latency": latency.run,
    "overload": overload.run,
    "scaling": scaling.run,
    "start": start.run,
    "memory": memory.run,
}
