"""What is to be reached, computed of figures."""

from pathlib import Path

import pytest

from benchmarks.bars import BARS, Bar
from benchmarks.results import Results, Spread


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Two rounds of the mesh beside peers."""
    results = Results(tmp_path / "results.json")
    record = results.begin("peers", {}, {})
    for name, values in {
        "ceiling: throughput": (100, 200),
        "mesh: throughput": (90, 160),
        "Flask: throughput": (10, 10),
        "BentoML: throughput": (15, 20),
        "Mosec, tuned: throughput": (80, 100),
        "LitServe, tuned: throughput": (70, 90),
        "mesh: one client": (10, 12),
        "Flask: one client": (40, 40),
        "Mosec, tuned: one client": (20, 20),
        "mesh: memory": (500, 500),
        "Mosec, tuned: memory": (1000, 1000),
        "LitServe, tuned: memory": (100, 100),
    }.items():
        for value in values:
            record.add(name, "", value)
    return results


def figure(results: Results, name: str) -> list[float]:
    """A bar's, by how its name begins."""
    (bar,) = [bar for bar in BARS if bar.name.startswith(name)]
    return bar.figure(results)


def test_a_ratio_is_of_one_round(results: Results) -> None:
    """Not of medians, which may be of different moments of the machine."""
    assert figure(results, "nothing cached, 16 connections: of the ceiling") == [0.9, 0.8]


def test_the_mesh_is_compared_with_the_peer_that_is_best(results: Results) -> None:
    """As documented with the fastest of those, tuned with the fastest of these."""
    assert figure(results, "the same: times the best peer by its docs") == [6, 8]
    assert figure(results, "the same: times the best tuned peer") == [90 / 80, 160 / 100]


def test_the_best_latency_of_any_peer_counts(results: Results) -> None:
    """Also a tuned one's."""
    assert figure(results, "one client: latency over the best peer's") == [0.5, 0.6]


def test_memory_is_compared_with_that_of_the_fastest_tuned_peer(results: Results) -> None:
    """One that saves memory by being slow proves nothing."""
    assert figure(results, "resident memory") == [0.5, 0.5]


def test_what_was_not_measured_has_no_figure(tmp_path: Path) -> None:
    """No bar fails for it."""
    assert [bar.figure(Results(tmp_path / "none.json")) for bar in BARS] == [[]] * len(BARS)


def test_memory_is_that_of_the_process_that_grew_most(results: Results) -> None:
    """But not of Redis, which is a cache that fills."""
    record = results.begin("memory", {}, {})
    for process, early, *late in (
        ("gateway", 100, 104, 101),
        ("fusion", 50, 51, 53),
        ("redis", 10, 90, 80),
    ):
        for value in late:
            record.add(f"{process}: early", "MiB", early)
            record.add(f"{process}: late", "MiB", value)
    assert figure(results, "memory late over early") == [1.04, 1.06]


@pytest.mark.parametrize(
    ("sign", "below", "at", "above"),
    [(">=", False, True, True), ("<=", True, True, False), ("<", True, False, False)],
)
def test_the_median_has_to_keep_to_the_limit(sign: str, below: bool, at: bool, above: bool) -> None:
    """Whatever the spread is."""
    bar = Bar("", lambda _: [], sign, 2.0)  # type: ignore[arg-type]
    assert [bar.met(Spread(median, 0, 9)) for median in (1.9, 2.0, 2.1)] == [below, at, above]


def test_a_limit_is_shown_with_its_unit() -> None:
    """Where it has one."""
    assert Bar("", lambda _: [], "<", 50, "ms").wanted == "< 50 ms"
    assert Bar("", lambda _: [], ">=", 0.8).wanted == ">= 0.8"
