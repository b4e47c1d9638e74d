"""Charts of the results, as SVG: throughput against size of batch, latency against load."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import Results, Spread

# Told from each other also by those who see few colours, after Okabe and Ito (2008).
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLE: Final[Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.hashsalt": "sensemesh",  # Else ids are random.
}
# What each shows, for those who don't see it.
ALT: Final = {
    "batches": "Throughput of one thread against size of batch, by encoder and engine",
    "latency": "Latency, p50 and p99, against load as a share of saturation",
}
PANELS: Final = {"text": "texts", "image": "images", "audio": "sounds"}


def draw(results: Results, folder: Path) -> list[Path]:
    """Write the charts of what was measured into a folder; their files."""
    drawn = []
    folder.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        for name, chart in (("batches", _batches), ("latency", _latency)):
            if name in results.sections and results.sections[name].series:
                file = folder / f"{name}.svg"
                chart(results).savefig(file, metadata={"Date": None})
                drawn.append(file)
    return drawn


def _batches(results: Results) -> Figure:
    figure = Figure(figsize=(9, 3), layout="constrained")
    sizes = results.fact("batches", "sizes")
    for axes, (modality, what) in zip(figure.subplots(1, 3), PANELS.items(), strict=True):
        for colour, engine in zip(COLOURS, _engines(results, modality), strict=False):
            names = [f"{modality}, {engine}: batch {size}" for size in sizes]
            _line(axes, sizes, [results.values("batches", n) for n in names], colour, engine)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="size of batch", ylabel=f"{what} a second, one thread", ylim=(0, None))
    axes.legend()
    return figure


def _engines(results: Results, modality: str) -> list[str]:
    rows = (name.partition(": ")[0] for name in results.sections["batches"].series)
    pairs = (row.split(", ") for row in rows)
    return list(dict.fromkeys(engine for of, engine in pairs if of == modality))


def _latency(results: Results) -> Figure:
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.add_subplot(xlabel="load, % of saturation", ylabel="latency, ms", yscale="log")
    loads = results.fact("latency", "loads")
    for colour, share in zip(COLOURS, ("p50", "p99"), strict=False):
        measured = [results.values("latency", f"{load} %: {share}") for load in loads]
        _line(axes, loads, measured, colour, share)
    axes.legend()
    return figure


def _line(
    axes: Axes, places: Sequence[int], rounds: Sequence[Sequence[float]], colour: str, label: str
) -> None:
    """Medians as a line, and the spread of the rounds around it."""
    pairs = [
        (place, Spread.of(values)) for place, values in zip(places, rounds, strict=True) if values
    ]
    at = [place for place, _ in pairs]
    axes.plot(at, [spread.median for _, spread in pairs], "o-", color=colour, ms=3, label=label)
    low, high = [s.low for _, s in pairs], [s.high for _, s in pairs]
    axes.fill_between(at, low, high, color=colour, alpha=0.2, lw=0)
