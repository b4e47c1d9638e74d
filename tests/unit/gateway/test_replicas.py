"""Counting replicas by what their answers say."""

import pytest

from gateway import replicas
from gateway.replicas import Replicas


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_replicas_are_counted_once_each_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not answer any more counts for so many seconds, and is back when it does."""
    clock = Clock()
    monkeypatch.setattr(replicas, "time", clock)
    seen = Replicas()
    assert [seen.count(replica) for replica in (1, 1, 2, 1, 3)] == [1, 1, 2, 2, 3]
    clock.now = replicas.FORGET / 2
    assert seen.count(2) == 3
    clock.now = replicas.FORGET + 1
    assert seen.count(2) == 1
    assert seen.count(1) == 2


def test_those_without_a_number_count_as_two() -> None:
    """They may be one or many: older ones, or somebody else's."""
    seen = Replicas()
    assert [seen.count(0), seen.count(0), seen.count(5)] == [2, 2, 3]


def test_there_is_an_end_to_counting() -> None:
    """A replica that crashes time and again chooses a new number each time."""
    seen = Replicas()
    assert [seen.count(replica) for replica in range(1, 100)][-1] == replicas.MOST
