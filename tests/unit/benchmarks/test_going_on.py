"""Which sections `python -m benchmarks` measures."""

from pathlib import Path

from benchmarks.__main__ import left
from benchmarks.bench import Plan
from benchmarks.results import Results
from benchmarks.sections import SECTIONS
from benchmarks.table import TITLES

PLAN = Plan.of(quick=True, runs=1)


def measured(file: Path, *names: str) -> Results:
    """Results in which these sections came to their end."""
    results = Results(file)
    for name in names:
        results.begin(name, {"commit": "abc"}, PLAN.plain()).fact("seconds", 1)
    return results


def test_an_interrupted_run_goes_on_with_what_it_has_not_measured(tmp_path: Path) -> None:
    """In the usual order."""
    results = measured(tmp_path / "r.json", "ceiling", "batches")
    assert left(results, PLAN, "abc", anew=False) == list(SECTIONS)[2:]


def test_a_run_that_came_to_its_end_is_followed_by_a_whole_one(tmp_path: Path) -> None:
    """So is one that is asked to begin anew."""
    assert left(measured(tmp_path / "all", *SECTIONS), PLAN, "abc", anew=False) == list(SECTIONS)
    assert left(measured(tmp_path / "one", "start"), PLAN, "abc", anew=True) == list(SECTIONS)


def test_figures_of_another_state_of_the_project_are_measured_again(tmp_path: Path) -> None:
    """They are of other code."""
    assert "start" in left(measured(tmp_path / "one", "start"), PLAN, "def", anew=False)


def test_every_section_has_a_title() -> None:
    """Else its figures would not be shown."""
    assert list(TITLES) == list(SECTIONS)
