"""The report as people and programs read it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from training.curves import Curve, Point
from training.metrics import Estimate, Scores, score
from training.report import Report, as_html, as_json, write_report

HOSTILE = '<script>alert("1")</script> & $\\frac$'
VOID = {"meta", "br"}


def scores(right: float, examples: int = 60) -> Scores:
    """Scores of examples of which so many are right."""
    labels = np.arange(examples) % 2
    predicted = np.where(np.arange(examples) < right * examples, labels, 1 - labels)
    return score(np.where(np.eye(2)[predicted] == 1, 0.875, 0.125), labels, ("joy", HOSTILE))


def curve(modality: str, kind: str) -> Curve:
    """A curve of two severities."""
    first, second = Estimate(0.9321, 0.91, 0.95), Estimate(0.5432, 0.5, 0.6)
    points = (Point(0, None, first, first), Point(1, 20.0, second, second))
    return Curve(modality, kind, "dB", 47, points)


@pytest.fixture(scope="module")
def report() -> Report:
    """A report with all that one can hold, and names that are markup."""
    return Report(
        model={
            "name": f"mood {HOSTILE}",
            "version": "sha256:fusion",
            "labels": ["joy", HOSTILE],
            "encoders": {
                name: {"version": f"sha256:{name}", "dim": 8} for name in ("text", "audio")
            },
        },
        data={
            "manifest": f"{HOSTILE}.csv",
            "sha256": "00ff",
            "split": "test",
            "rows": 120,
            "inputs": {"text": 80, "audio": 40},
            "labels": {"joy": 60, HOSTILE: 60},
        },
        join="class",
        note="The parts have only their class in common.",
        drawn={"text": {"inputs": 51, "groups": 0}, "audio": {"inputs": 37, "groups": 2}},
        subsets={"text": scores(0.7), "audio": scores(0.8), "text+audio": scores(0.95)},
        natural={"text": scores(0.75), "audio": scores(0.85)},
        robustness=(curve("audio", "noise"), curve("audio", "low-pass")),
        fusions={HOSTILE: {"text": scores(0.6), "audio": scores(0.7), "text+audio": scores(0.9)}},
    )


@pytest.fixture(scope="module")
def html(report: Report) -> str:
    """Its page."""
    return as_html(report)


class Page(HTMLParser):
    """A page's tags, which must nest, with its text and ids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_is_whole(html: str) -> None:
    """Its elements nest, and no id is there twice."""
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert page.open == []
    assert len(ids) == len(set(ids))


def test_names_are_not_markup(html: str) -> None:
    """A class, a manifest, a model or a strategy may be called anything."""
    page = Page(html)
    assert page.named("script") == []
    assert page.text.count(HOSTILE) >= 10
    assert "<script" not in html


def test_the_page_asks_nobody_for_anything(html: str) -> None:
    """No address is loaded; those of XML's name spaces are no more than names."""
    loaded = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\') >]+)', html)
    assert all(address.startswith("#") for address in loaded)
    assert not re.search(r"@import|<link|<iframe", html)


def test_every_reference_inside_a_plot_leads_somewhere(html: str) -> None:
    """To an id of the same plot."""
    ids = set(re.findall(r' id="([^"]+)"', html))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', html)) <= ids


def test_the_page_has_every_figure(report: Report, html: str) -> None:
    """Headline figures with intervals, classes, curves, counts, versions, and the warning."""
    text = Page(html).text
    for found in (*report.subsets.values(), *report.natural.values()):
        for estimate in (found.accuracy, found.macro_precision, found.macro_f1, found.ece):
            assert f"{estimate.value:.3f} {estimate.low:.3f} to {estimate.high:.3f}" in text
        assert all(
            f"{row.precision:.3f}{row.recall:.3f}" in text.replace("\n", "")
            for row in found.classes
        )
    expected = ["sha256:fusion", "sha256:audio", "00ff", "80 inputs", report.note, "51 distinct"]
    expected += ["distinct groups: 2", "noise", "low-pass", "0.932", "0.543", "as it is", "20"]
    assert [piece for piece in expected if piece not in text] == []


def test_every_plot_says_what_it_shows(report: Report, html: str) -> None:
    """To whom can't see it: subsets, strategies, a decline, and five reliability diagrams."""
    plots = Page(html).named("svg")
    said = [plot["aria-label"] or "" for plot in plots]
    assert [plot["role"] for plot in plots] == ["img"] * 8
    assert sum("Reliability diagram" in label for label in said) == 5
    assert "noise from 0.932 to 0.543" in " ".join(said)
    assert f"macro-F1: text {report.subsets['text'].macro_f1.value:.3f}" in said[0]


def test_every_table_has_a_caption_and_headers_with_scope(html: str) -> None:
    """Which is how a screen reader finds its way."""
    page = Page(html)
    assert len(page.named("caption")) == len(page.named("table"))
    assert all("scope" in attributes for attributes in page.named("th"))


def test_plots_take_the_pages_colours(html: str) -> None:
    """So that they can be read in light and dark, and on paper."""
    assert "currentColor" in html
    assert "#010203" not in html
    assert "prefers-color-scheme: dark" in html


def test_what_was_not_found_is_not_shown(report: Report) -> None:
    """A plain report has no strategies, no curves and no warning."""
    plain = Report(
        report.model, report.data, "row", "", {}, report.subsets, report.natural, ("x+y",)
    )
    text = Page(as_html(plain)).text
    assert "Fusion strategies" not in text
    assert "Robustness" not in text
    assert "No row has x + y." in text


def test_json_holds_the_reports_fields(report: Report) -> None:
    """Rounded, with what is unknown as null."""
    found = json.loads(as_json(report))
    assert list(found) == list(Report.__dataclass_fields__)
    assert found["subsets"]["text"]["accuracy"]["value"] == pytest.approx(0.7)
    assert found["subsets"]["text"]["confusion"] == [[21, 9], [9, 21]]
    assert found["subsets"]["text"]["bins"][0]["confidence"] is None
    assert found["robustness"][0]["points"][1]["level"] == 20.0
    assert max(len(number) for number in re.findall(r"\.(\d+)", as_json(report))) <= 6


def test_the_same_findings_give_the_same_bytes(report: Report, tmp_path: Path) -> None:
    """In both files, which a folder is made for."""
    first, second = tmp_path / "first" / "deep", tmp_path / "second"
    write_report(report, first)
    write_report(report, second)
    for name in ("report.json", "report.html"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
