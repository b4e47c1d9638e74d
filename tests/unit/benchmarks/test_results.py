"""Series of figures: their middle and spread, ratios, and the file that keeps them."""

from pathlib import Path

from benchmarks.bench import Plan
from benchmarks.results import Results, Section, Spread, ratios

PLAN = Plan.of(quick=True, runs=2)


def test_the_middle_of_figures_is_their_median_with_the_least_and_the_greatest() -> None:
    """One slow run moves the spread, not the middle."""
    assert Spread.of([10, 1, 9]) == Spread(9, 1, 10)


def test_ratios_pair_the_figures_of_each_round() -> None:
    """What was measured one after the other is divided, and an unfinished round left out."""
    assert ratios([10, 30, 50], [5, 10]) == [2, 3]


def test_every_figure_is_on_disk_as_soon_as_it_is_known(tmp_path: Path) -> None:
    """Another process finds it before the section has ended."""
    record = Results(tmp_path / "new/results.json").begin("peers", {"cores": 2}, PLAN.plain())
    record.add("mesh: throughput", "requests/s", 120.5)
    record.fact("engine", "openvino")
    kept = Results(tmp_path / "new/results.json")
    assert kept.values("peers", "mesh: throughput") == [120.5]
    assert kept.fact("peers", "engine") == "openvino"
    assert kept.values("peers", "unknown") == kept.values("unknown", "mesh: throughput") == []


def test_a_section_that_is_measured_anew_forgets_what_it_was(tmp_path: Path) -> None:
    """Other sections stay."""
    results = Results(tmp_path / "results.json")
    for name in ("peers", "start", "peers"):
        results.begin(name, {}, {}).add("figure", "s", 1)
    assert results.values("peers", "figure") == results.values("start", "figure") == [1]


def test_a_section_is_done_when_it_came_to_its_end_by_the_same_plan_of_the_same_state() -> None:
    """Another plan, another commit, and an interruption each make it unfinished."""
    ended = Section("", {"commit": "abc"}, PLAN.plain(), {}, {"seconds": 9})
    assert ended.is_of(PLAN.plain(), "abc")
    assert not ended.is_of(PLAN.plain(), "def")
    assert not ended.is_of(Plan.of(quick=False, runs=2).plain(), "abc")
    assert not Section("", {"commit": "abc"}, PLAN.plain()).is_of(PLAN.plain(), "abc")


def test_a_plan_is_the_same_when_it_comes_back_from_disk(tmp_path: Path) -> None:
    """Else no run could go on."""
    record = Results(tmp_path / "r.json").begin("start", {"commit": "abc"}, PLAN.plain())
    record.fact("seconds", 3)
    assert Results(tmp_path / "r.json").sections["start"].is_of(PLAN.plain(), "abc")
