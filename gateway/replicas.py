"""How many replicas of a service there are, as their answers tell."""

import time
from typing import Final

# Seconds after which one that has not answered again counts as gone: as long as a call may take
# unless MESH_TIMEOUT_MAX says more, since one too many does less harm than one too few.
FORGET: Final = 60.0
# However many numbers there are: a replica that crashes time and again has a new one each time.
MOST: Final = 32
# What those that don't tell themselves apart count as together.
NAMELESS: Final = 2


class Replicas:
    """Those that have answered lately, by the numbers that they chose for themselves."""

    def __init__(self) -> None:
        self._answered: dict[int, float] = {}  # By when they did so last.

    def count(self, replica: int) -> int:
        """How many there are, now that this one has answered; 0 is any that says no number."""
        now = time.monotonic()
        self._answered.pop(replica, None)
        self._answered[replica] = now
        while self._answered[oldest := next(iter(self._answered))] < now - FORGET:
            del self._answered[oldest]
        nameless = NAMELESS - 1 if 0 in self._answered else 0
        return min(len(self._answered) + nameless, MOST)
