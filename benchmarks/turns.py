"""Turns of seconds, so that the machine's moods, which last longer, meet all that is compared."""

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from statistics import fmean
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
F = TypeVar("F", bound=Hashable)

# By name and unit.
Figures = dict[tuple[str, str], float]


def in_turns(
    turns: Mapping[K, Callable[[], Mapping[F, float]]], count: int
) -> dict[K, dict[F, float]]:
    """The mean of what each one finds in so many turns. Each time another one begins."""
    found: dict[K, list[Mapping[F, float]]] = {name: [] for name in turns}
    for number in range(count):
        names = deque(turns)
        names.rotate(-number)
        for name in names:
            found[name].append(turns[name]())
    return {
        name: {figure: fmean(one[figure] for one in taken) for figure in taken[0]}
        for name, taken in found.items()
    }
