"""Which of the waiting items go into a batch together, and into which parts of it.

Pure; mesh.batching does the waiting.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

# No item is padded to more than this many times its own size,
MAX_PADDING: Final = 2.0
# but sizes below this part of an equal share of the largest batch count as equal: there, a run of
# the model of its own costs more than the padding does.
SMALL: Final = 1 / 8


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The largest batch: in items, and in cost, which is items times the largest item's size."""

    max_items: int
    max_cost: float

    @property
    def small(self) -> float:
        """The size below which differences don't matter."""
        return self.max_cost / self.max_items * SMALL

    def allow(self, items: int, largest: float) -> bool:
        """Whether so many items, the largest of this size, may be one batch."""
        return items <= self.max_items and items * largest <= self.max_cost

    def fit(self, size: float) -> int:
        """How many items of this size are a full batch; one, where even that is too large."""
        return max(1, min(self.max_items, int(self.max_cost // size)))


def choose(sizes: Sequence[float], limits: BatchLimits) -> list[int]:
    """The indices of the next batch among waiting items of these sizes, given the oldest first.

    The oldest is always in it, even if it is over the limits by itself, so that none starves. It
    is joined by those nearest to it in size, as far as the limits and MAX_PADDING allow.
    """
    sizes = [max(size, limits.small) for size in sizes]
    chosen, low, high = [0], sizes[0], sizes[0]
    for index in sorted(range(1, len(sizes)), key=lambda index: abs(sizes[index] - sizes[0])):
        least, most = min(low, sizes[index]), max(high, sizes[index])
        if most <= MAX_PADDING * least and limits.allow(len(chosen) + 1, most):
            chosen.append(index)
            low, high = least, most
    return chosen


def parts(sizes: Sequence[float], limits: BatchLimits) -> Iterator[list[int]]:
    """All indices in parts of neighbours in size, the largest first, each part within the limits.

    Of items of one size parts are about as many: six are three and three rather than four and two,
    since an engine has to prepare itself where the shape changes. An item that is over the limits
    by itself is a part of its own.
    """
    waiting = sorted(range(len(sizes)), key=lambda index: -sizes[index])
    while waiting:
        count = -(-len(waiting) // limits.fit(max(sizes[waiting[0]], limits.small)))
        items = -(-len(waiting) // count)
        yield waiting[:items]
        waiting = waiting[items:]
