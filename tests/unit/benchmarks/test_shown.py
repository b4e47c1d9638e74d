"""Tables, charts, and the page that they are put into."""

from pathlib import Path

import pytest

from benchmarks import charts
from benchmarks.bench import Plan
from benchmarks.publishing import BEGIN, END, publish
from benchmarks.results import Results
from benchmarks.table import markdown

PAGE = Path(__file__).parents[3] / "docs/benchmarks.md"
MACHINE = {"cores": 2, "commit": "abc123", "cores busy before": 0.1}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Three rounds of some sections."""
    results = Results(tmp_path / "results.json")
    plan = Plan.of(quick=False, runs=3).plain()
    peers = results.begin("peers", MACHINE, plan)
    for rate, other in ((90, 10), (120, 10), (150, 10)):
        peers.add("mesh: throughput", "requests/s", rate)
        peers.add("Flask: throughput", "requests/s", other)
        peers.add("mesh: memory", "MiB", 512.34)
    peers.fact("left out: Ray Serve", "it was\nnot ready")
    latency = results.begin("latency", MACHINE, plan)
    latency.fact("loads", [30, 70])
    for load in (30, 70):
        latency.add(f"{load} %: p50", "ms", load)
        latency.add(f"{load} %: p99", "ms", 3 * load)
    batches = results.begin("batches", MACHINE, plan)
    batches.fact("sizes", [1, 4])
    for size in (1, 4):
        for modality in ("text", "image", "audio"):
            batches.add(f"{modality}, torch float32: batch {size}", "inputs/s", 100 * size)
    return results


def test_a_section_is_a_table_of_medians_and_spreads(results: Results) -> None:
    """A figure's row and column are its name's."""
    text = markdown(results)
    assert "| mesh | 120 (90 to 150) | 512 (512 to 512) |  |" in text
    assert "|  | throughput, requests/s | memory, MiB | the mesh's, times |" in text


def test_peers_are_shown_with_how_many_times_faster_the_mesh_is(results: Results) -> None:
    """Round by round."""
    assert "| Flask | 10 (10 to 10) |  | 12 (9 to 15) |" in markdown(results)


def test_bars_say_whether_they_are_met_missed_or_not_measured(results: Results) -> None:
    """The first table."""
    text = markdown(results)
    assert "| the same: times the best peer by its docs | >= 5 | 12 | 9 to 15 | met |" in text
    assert "| 70 % of saturation: p99 over p50 | <= 3 | 3 | 3 to 3 | met |" in text
    assert "| replicas 1 to 2 | >= 1.9 |  |  | not measured |" in text


def test_the_machine_is_named_once_and_the_state_in_every_section(results: Results) -> None:
    """With what was left out, in one line."""
    text = markdown(results)
    assert text.count("Measured on: cores 2.") == 1
    assert text.count("abc123; cores busy before: 0.1.") == 3
    assert "- left out: Ray Serve: it was not ready" in text


def test_figures_of_two_machines_say_which_is_whose(results: Results) -> None:
    """Each with its sections."""
    results.begin("start", MACHINE | {"cores": 64}, Plan.of(quick=True, runs=1).plain())
    text = markdown(results)
    assert "peers, latency, batches on: cores 2." in text
    assert "start on: cores 64." in text


def test_figures_that_prove_nothing_say_so(results: Results) -> None:
    """Those of a quick run, and those of a busy machine."""
    busy = MACHINE | {"cores busy before": 7.0}
    results.begin("start", busy, Plan.of(quick=True, runs=1).plain())
    text = markdown(results)
    assert "**Quick: these figures only show that the measurement works.**" in text
    assert "**The machine was busy: these figures can't be trusted.**" in text


def test_charts_are_small_and_the_same_each_time(results: Results, tmp_path: Path) -> None:
    """A repository keeps them."""
    drawn = charts.draw(results, tmp_path / "charts")
    assert [file.name for file in drawn] == ["batches.svg", "latency.svg"]
    before = [file.read_bytes() for file in drawn]
    assert all(len(content) < 150_000 for content in before)
    assert [file.read_bytes() for file in charts.draw(results, tmp_path / "charts")] == before


def test_nothing_is_drawn_of_what_was_not_measured(tmp_path: Path) -> None:
    """Nor does it fail."""
    assert charts.draw(Results(tmp_path / "none.json"), tmp_path) == []


def test_a_page_keeps_its_prose_around_the_figures(tmp_path: Path) -> None:
    """However often they are replaced."""
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Before\n\n{BEGIN}\n{END}\n\nAfter\n")
    for text in ("old", "new"):
        publish(text, [tmp_path / "benchmarks/latency.svg"], page)
    assert page.read_text().startswith(f"# Before\n\n{BEGIN}\n\nnew\n\n![Latency, p50 and p99,")
    assert page.read_text().endswith(f"(benchmarks/latency.svg)\n\n{END}\n\nAfter\n")


def test_flame_graphs_that_were_drawn_are_shown(tmp_path: Path) -> None:
    """Each by its name."""
    page = tmp_path / "benchmarks.md"
    page.write_text(f"{BEGIN}{END}")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/flame-after-gateway-cached.svg").touch()
    publish("new", [], page)
    image = "![Flame after gateway cached](benchmarks/flame-after-gateway-cached.svg)"
    assert image in page.read_text()


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    """It may be any page."""
    page = tmp_path / "page.md"
    page.write_text("# Page\n")
    with pytest.raises(ValueError, match="there is no"):
        publish("new", [], page)
    assert page.read_text() == "# Page\n"


def test_the_project_s_page_has_a_place_for_figures(tmp_path: Path) -> None:
    """`--publish` writes there."""
    copy = tmp_path / "copy.md"
    copy.write_text(PAGE.read_text())
    publish("new figures", [], copy)
    assert "new figures" in copy.read_text()
