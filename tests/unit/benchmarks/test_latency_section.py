"""The sections of open loops, by fakes of the mesh and of the generator's loops."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.answers import Answer, Answers
from benchmarks.load import Open, Target
from benchmarks.sections import latency, overload


class FakeBench:
    """Of one run of two turns; notes what is added."""

    plan = SimpleNamespace(quick=False, runs=1, turns=2, seconds=4, warm=1)
    record = SimpleNamespace(fact=lambda *_: None)
    folder = Path()

    def __init__(self) -> None:
        self.added: dict[tuple[str, str], float] = {}

    def bodies(self) -> None:
        """None that would be sent."""

    def add(self, name: str, unit: str, value: float) -> None:
        """As Bench has it."""
        self.added[name, unit] = value


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> list[Open]:
    """The open loops that were run. Saturation is 100 requests a second, then 10 more each time."""
    ran: list[Open] = []
    peaks = iter(range(100, 1000, 10))

    def open_loop(_: Target, load: Open) -> Answers:
        ran.append(load)
        answers = [Answer(status, load.rate / 1000, 0.0, 1.0) for status in (200, 200, 429)]
        return Answers(answers, answers, load.seconds, 0.0)

    ours = SimpleNamespace(predict="nowhere://here", whole_answers=nullcontext)
    for section in (latency, overload):
        monkeypatch.setattr(section, "mesh", lambda _: nullcontext(ours))
        monkeypatch.setattr(section, "warm_up", lambda *_: None)
    monkeypatch.setattr(latency, "closed_loop", lambda *_: SimpleNamespace(rate=next(peaks)))
    monkeypatch.setattr(latency, "open_loop", open_loop)
    return ran


def test_each_load_is_a_share_of_the_saturation_just_before_it(loops: list[Open]) -> None:
    """The machine's speed changes within seconds. Figures are means of turns."""
    bench: Any = FakeBench()
    latency.run(bench)
    shares = [0.3, 0.5, 0.7, 0.95, 0.5, 0.7, 0.95, 0.3]
    peaks = range(100, 180, 10)
    assert [load.rate for load in loops] == pytest.approx(
        [share * peak for share, peak in zip(shares, peaks, strict=True)]
    )
    assert bench.added["saturation", "requests/s"] == 135
    assert bench.added["30 %: p50", "ms"] == pytest.approx(0.3 * (100 + 170) / 2)
    assert bench.added["95 %: refused", "%"] == pytest.approx(100 / 3)


def test_overload_is_twice_the_saturation_just_before_it(loops: list[Open]) -> None:
    """And what it does to answers and refusals."""
    bench: Any = FakeBench()
    overload.run(bench)
    assert [load.rate for load in loops] == [200, 220]
    assert bench.added["saturation", "requests/s"] == 105
    rates = [bench.added[name, "requests/s"] for name in ("goodput", "refused", "neither")]
    assert rates == [0.5, 0.25, 0]
    assert bench.added["refusals: p99", "ms"] == pytest.approx(210)


def test_queues_have_the_time_to_fill(loops: list[Open], monkeypatch: pytest.MonkeyPatch) -> None:
    """As at twice saturation, where what the mesh takes in a second comes beyond it."""
    monkeypatch.setattr(latency, "PLACES", 300)
    overload.run(FakeBench())  # type: ignore[arg-type]
    assert [load.ramp for load in loops] == [3, pytest.approx(300 / 110)]


def test_queues_have_a_second_at_least(loops: list[Open]) -> None:
    """Which is more than what comes beyond saturation needs."""
    overload.run(FakeBench())  # type: ignore[arg-type]
    assert loops[0].ramp == 1
