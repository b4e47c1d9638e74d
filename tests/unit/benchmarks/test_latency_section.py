"""The rounds of open loops, by fakes of the generator's loops."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.bodies import Bodies
from benchmarks.load import Answer, Answers, Open, Target
from benchmarks.sections import latency

TARGET = Target("nowhere://here", Bodies(Path(), Path(), "t", 3))


class FakeBench:
    """Two runs of two turns; notes what is added."""

    plan = SimpleNamespace(runs=2, turns=2, seconds=4, warm=1)

    def __init__(self) -> None:
        self.added: list[tuple[str, float]] = []

    def add(self, name: str, _: str, value: float) -> None:
        """As Bench has it."""
        self.added.append((name, value))


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> list[Open]:
    """The open loops that were run. Saturation is 10 requests a second more each time."""
    ran: list[Open] = []
    peaks = iter(range(100, 1000, 10))

    def open_loop(_: Target, load: Open) -> Answers:
        ran.append(load)
        answers = [Answer(200, load.rate / 1000, 0.0, 1.0)]
        return Answers(answers, answers, load.seconds, 0.0)

    monkeypatch.setattr(latency, "warm_up", lambda *_: None)
    monkeypatch.setattr(latency, "closed_loop", lambda *_: SimpleNamespace(rate=next(peaks)))
    monkeypatch.setattr(latency, "open_loop", open_loop)
    return ran


def test_each_turn_s_loads_are_shares_of_its_own_saturation(loops: list[Open]) -> None:
    """The machine's speed changes between them."""
    bench: Any = FakeBench()
    found = list(latency.rounds(bench, TARGET, [0.5, 2]))
    assert [load.rate for load in loops] == [50, 200, 55, 220, 60, 240, 65, 260]
    assert bench.added == [("saturation", 105), ("saturation", 125)]
    assert [answers.latencies() for answers in found[0]] == [[0.05, 0.055], [0.2, 0.22]]
    assert len(found) == 2


def test_queues_have_the_time_to_fill(loops: list[Open], monkeypatch: pytest.MonkeyPatch) -> None:
    """As at twice saturation, where what the mesh takes in a second comes beyond it."""
    monkeypatch.setattr(latency, "PLACES", 300)
    list(latency.rounds(FakeBench(), TARGET, [2]))  # type: ignore[arg-type]
    assert loops[0].ramp == 3
