"""The answers of an open loop, one by one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of an open loop, times in seconds.

    It came `at` after the first request was due; its own was sent `late` after it was due.
    """

    status: int
    latency: float
    late: float
    at: float

    @property
    def due(self) -> float:
        """When its request was due, after the first one."""
        return self.at - self.latency


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of an open loop in the `seconds` that count.

    `came` are those that came then, whose number does not depend on how long they took; `due` those
    whose requests were due then, of which none is left out for being slow.
    """

    came: Sequence[Answer]
    due: Sequence[Answer]
    seconds: float
    cpu: float

    def latencies(self, *statuses: int) -> list[float]:
        """Of the answers with such a status, or of all, in rising order."""
        return sorted(a.latency for a in self.due if not statuses or a.status in statuses)

    def rate(self, *statuses: int) -> float:
        """Answers a second with such a status, or all."""
        counted = [a for a in self.came if not statuses or a.status in statuses]
        return len(counted) / self.seconds

    @property
    def late(self) -> float:
        """The 99th percentile of how late the generator was, in seconds."""
        return percentile(sorted(answer.late for answer in self.due), 0.99)


def parse_answers(text: str) -> list[Answer]:
    """The lines that benchmarks/load.lua writes."""
    rows = (line.split() for line in text.splitlines())
    return [Answer(int(status), *map(float, times)) for status, *times in rows]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that so large a share of the ordered values does not exceed; NaN of none."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
