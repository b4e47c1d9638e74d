"""How long an input may wait for others to go with, where its request waits for another anyway.

A batch of sixteen texts takes less than four of four. Under load a request waits for its sound much
longer than for its text, so that the text may wait as well.
"""

import time
from collections.abc import Collection
from typing import Final

from mesh.embedding import Modality

# Of the time that is left over, since what is usual may change,
SHARE: Final = 0.5
# beyond what is chance, in seconds,
MARGIN: Final = 0.01
# and at most.
MOST: Final = 0.25
# Of what is left to the deadline beyond what it takes itself.
SHARE_OF_DEADLINE: Final = 0.25
# The weight of the last input in what is usual.
LAST: Final = 0.1


class Patience:
    """Watches how long each modality takes of late. Lives in one loop."""

    def __init__(self) -> None:
        self._usual: dict[Modality, float] = {}

    def longest(self, modalities: Collection[Modality]) -> float:
        """Seconds that a request for these usually waits for the last of them."""
        return max([self._usual.get(modality, 0.0) for modality in modalities], default=0.0)

    def of(self, modality: Modality, longest: float, deadline: float) -> float:
        """Seconds for an input whose request waits for the `longest` of its inputs anyway.

        `deadline` is on the clock of time.monotonic(). None while nobody knows what is usual.
        """
        if (usual := self._usual.get(modality)) is None:
            return 0.0
        spare = SHARE * (longest - usual) - MARGIN
        left = SHARE_OF_DEADLINE * (deadline - time.monotonic() - usual)
        return max(0.0, min(spare, left, MOST))

    def took(self, modality: Modality, seconds: float) -> None:
        """An input was encoded in so many seconds, its patience among them."""
        usual = self._usual.setdefault(modality, seconds)
        self._usual[modality] = usual + LAST * (seconds - usual)

    def failed(self, modality: Modality) -> None:
        """An input was not encoded: nobody knows how long the next one takes."""
        self._usual.pop(modality, None)
