"""Results as Markdown, as docs/benchmarks.md holds them."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from benchmarks.bars import BARS, Bar
from benchmarks.contenders import MESH
from benchmarks.machine import BUSY
from benchmarks.results import Results, Section, Series, Spread, ratios

TITLES: Final = {
    "ceiling": "Ceiling: complete work without a server",
    "batches": "Batches: one thread, the model alone",
    "peers": "Peers: side by side, 16 connections, nothing cached",
    "profile": "Profile: what the cores do for one request, and where",
    "mixes": "Mixes, 16 connections",
    "latency": "Latency in open loop, nothing cached",
    "overload": "Overload: twice saturation, open loop",
    "scaling": "Scaling: replicas of an encoder that sleeps",
    "start": "Start, to the first answer",
    "memory": "Memory in a long run",
}
# Of the machine's description, what may differ from one section to the next.
CHANGING: Final = ("commit", "cores busy before")


def markdown(results: Results) -> str:
    """Bars, then each section's figures, and what they are of."""
    names = [name for name in TITLES if name in results.sections]
    sections = [_section(name, results.sections[name]) for name in names]
    return "\n\n".join([*_machines(results), _bars(results), *sections]) + "\n"


def _machines(results: Results) -> Iterator[str]:
    """Each machine once, with its sections where there are several."""
    measured: dict[str, list[str]] = {}
    for name, section in results.sections.items():
        facts = ((k, v) for k, v in section.machine.items() if k not in CHANGING)
        measured.setdefault(", ".join(f"{key} {value}" for key, value in facts), []).append(name)
    for machine, names in measured.items():
        yield f"{', '.join(names) if len(measured) > 1 else 'Measured'} on: {machine}."


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
    series = section.series | (_beside(section) if name == "peers" else {})
    parts = [f"### {TITLES[name]}", *_conditions(section)]
    parts += [_pivot(series)] if series else []
    facts = [f"- {key}: {_fact(value)}" for key, value in section.facts.items()]
    return "\n\n".join([*parts, "\n".join(facts)] if facts else parts)


def _conditions(section: Section) -> Iterator[str]:
    plan, machine = section.plan, section.machine
    state = machine.get("commit") or "an unknown state"
    load = machine.get("cores busy before", 0)
    runs = f"{plan['runs']} run{'s' * (plan['runs'] > 1)}"
    yield f"{section.taken} UTC; {runs} of {plan['seconds']} s; {state}; cores busy before: {load}."
    if plan["quick"]:
        yield "**Quick: these figures only show that the measurement works.**"
    if load > BUSY:
        yield "**The machine was busy: these figures can't be trusted.**"


def _beside(section: Section) -> dict[str, Series]:
    """How many times each one's throughput the mesh's is, round by round."""
    rates = {
        name.partition(": ")[0]: name for name in section.series if name.endswith("throughput")
    }
    ours = section.values(f"{MESH}: throughput")
    return {
        f"{contender}: the mesh's": {"unit": "times", "values": ratios(ours, section.values(name))}
        for contender, name in rates.items()
        if contender != MESH and ours
    }


def _pivot(series: dict[str, Series]) -> str:
    """A table of series that are named "row: column", or "row" where there is one figure of it."""
    cells = {name.partition(": ")[::2]: one for name, one in series.items() if one["values"]}
    rows = list(dict.fromkeys(row for row, _ in cells))
    columns = list(dict.fromkeys((column, one["unit"]) for (_, column), one in cells.items()))
    head = ["", *(", ".join(filter(None, column)) for column in columns)]
    lines = [
        [row, *(_cell(cells.get((row, name)), unit) for name, unit in columns)] for row in rows
    ]
    return _table(head, lines)


def _cell(series: Series | None, unit: str) -> str:
    if series is None or series["unit"] != unit:
        return ""
    spread = Spread.of(series["values"])
    middle = _figure(spread.median)
    return middle if len(series["values"]) == 1 else f"{middle} ({_range(spread)})"


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
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return " ".join(str(value).split())
