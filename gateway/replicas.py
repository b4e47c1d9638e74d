"""How many replicas of a service there are, as their answers tell."""

import time
from typing import Final

# Seconds after which one that has not answered again counts as gone: longer than a deadline, since
# one too many does less harm than one too few.
FORGET: Final = 60.0


class Replicas:
    """Those that have answered lately, by the numbers that they chose for themselves."""

    def __init__(self) -> None:
        self._answered: dict[int, float] = {}  # By when they did so last.

    def count(self, replica: int) -> int:
        """How many there are, now that this one has answered."""
        now = time.monotonic()
        self._answered.pop(replica, None)
        self._answered[replica] = now
        while self._answered[oldest := next(iter(self._answered))] < now - FORGET:
            del self._answered[oldest]
        return len(self._answered)
