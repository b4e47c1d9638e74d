"""A gateway's answer as it is shown in a terminal."""

from collections.abc import Mapping
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

BAR_WIDTH: Final = 24
STYLES: Final = {"computed": "green", "cached": "cyan", "absent": "dim", "failed": "bold red"}


def rendered(answer: Mapping[str, Any]) -> RenderableType:
    """The class, the probabilities of all, what became of each modality, and the times taken."""
    headline = Text(f"{answer['prediction']}  {answer['probability']:.1%}", style="bold")
    if answer["degraded"]:
        headline.append("  degraded: a modality is missing by the mesh's fault", style="red")
    return Group(headline, _classes(answer), _modalities(answer["modalities"]), _footer(answer))


def _classes(answer: Mapping[str, Any]) -> Table:
    table = _table("class", "", "probability")
    ranked = sorted(answer["probabilities"].items(), key=lambda item: -item[1])
    for label, probability in ranked:
        style = "bold" if label == answer["prediction"] else ""
        bar = ProgressBar(total=1.0, completed=probability, width=BAR_WIDTH)
        table.add_row(Text(label, style), bar, Text(f"{probability:.3f}", style))
    return table


def _modalities(reports: Mapping[str, Mapping[str, Any]]) -> Table:
    explained = any("contribution" in report for report in reports.values())
    table = _table("modality", "status", *(["contribution"] if explained else []))
    for name, report in reports.items():
        cells = [Text(name), _status(report)]
        table.add_row(*cells, *([_contribution(report)] if explained else []))
    return table


def _status(report: Mapping[str, Any]) -> Text:
    status = Text(report["status"], style=STYLES.get(report["status"], ""))
    if report.get("truncated"):
        status.append(" (truncated)", style="yellow")
    if error := report.get("error"):
        status.append(f": {error['code']}, {error['message']}", style="not bold")
    return status


def _contribution(report: Mapping[str, Any]) -> Text:
    value = report.get("contribution")
    return Text("-" if value is None else f"{value:+.3f}")


def _footer(answer: Mapping[str, Any]) -> Text:
    times = {name: f"{value:.1f}" for name, value in answer["timing_ms"].items()}
    stages = ", ".join(f"{name} {value}" for name, value in times.items() if name != "total")
    model = answer["model"]
    return Text(
        f"{times.get('total', '?')} ms ({stages})\n"
        f"model {model['name']} {model['version'][:19]}, request {answer['request_id']}",
        style="dim",
    )


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name)
    return table
