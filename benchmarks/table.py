"""Results as Markdown, as docs/benchmarks.md holds them."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from benchmarks.bars import BARS, Bar
from benchmarks.machine import BUSY
from benchmarks.results import Results, Section, Spread

TITLES: Final = {
    "ceiling": "Ceiling: complete work without a server",
    "batches": "Batches: one thread, the model alone",
    "peers": "Peers: side by side",
    "mixes": "Mixes, 16 connections",
    "latency": "Latency in open loop, nothing cached",
    "overload": "Overload: twice saturation, open loop",
    "scaling": "Scaling: replicas of an encoder that sleeps",
    "start": "Start, to the first answer",
    "memory": "Memory in a long run",
}


def markdown(results: Results) -> str:
    """Bars, then each section's figures, and what they are of."""
    sections = [_section(name, section) for name, section in results.sections.items()]
    return "\n\n".join([_bars(results), *sections]) + "\n"


def _bars(results: Results) -> str:
    rows = [_bar(bar, bar.figure(results)) for bar in BARS]
    return _table(("bar", "wanted", "median", "spread", ""), rows)


def _bar(bar: Bar, values: Sequence[float]) -> Sequence[str]:
    if not values:
        return (bar.name, bar.wanted, "", "", "not measured")
    spread = Spread.of(values)
    verdict = "met" if bar.met(spread) else "**missed**"
    return (bar.name, bar.wanted, _figure(spread.median), _range(spread), verdict)


def _section(name: str, section: Section) -> str:
    rows = [
        (label, _figure(spread.median), _range(spread), series["unit"])
        for label, series in section.series.items()
        if (spread := Spread.of(series["values"]))
    ]
    parts = [f"### {TITLES[name]}", *_conditions(section)]
    parts += [_table(("", "median", "spread", "unit"), rows)] if rows else []
    parts += [f"- {key}: {_fact(value)}" for key, value in section.facts.items()]
    return "\n\n".join(parts)


def _conditions(section: Section) -> Iterator[str]:
    plan, machine = section.plan, section.machine
    of = ", ".join(f"{key} {value}" for key, value in machine.items())
    yield f"{section.taken}; {plan['runs']} runs of {plan['seconds']} s; {of}."
    if plan["quick"]:
        yield "**Quick: these figures only show that the measurement works.**"
    if machine.get("load before", 0) > BUSY:
        yield "**The machine was busy: these figures can't be trusted.**"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _range(spread: Spread) -> str:
    return f"{_figure(spread.low)} to {_figure(spread.high)}"


def _figure(value: float) -> str:
    """Three significant digits, and no exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return " ".join(str(value).split())
