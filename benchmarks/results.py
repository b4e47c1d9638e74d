"""What was measured: series of figures by section and name, kept as JSON; medians and ratios."""

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

Values = Sequence[float]
# Under "unit" a word, under "values" one figure for each round.
Series = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of several figures, the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Values) -> Self:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def ratios(one: Values, other: Values) -> list[float]:
    """Round by round: both sides of a ratio were measured one after the other."""
    return [a / b for a, b in zip(one, other, strict=False)]


@dataclass(slots=True)
class Section:
    """One section's figures. `series` are named "row: column", as a table of them would be."""

    taken: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def values(self, name: str) -> list[float]:
        """A series, empty where it was not measured."""
        return list(self.series.get(name, {}).get("values", []))

    def is_of(self, plan: Mapping[str, Any], commit: str) -> bool:
        """Whether it was measured to its end, by this plan and of this state of the project."""
        ended = "seconds" in self.facts
        return ended and self.plan == plan and self.machine.get("commit") == commit


class Results:
    """All sections that were measured, in a file that is written after every figure."""

    def __init__(self, file: Path) -> None:
        self._file = file
        kept = json.loads(file.read_text()) if file.exists() else {}
        self.sections = {name: Section(**section) for name, section in kept.items()}

    def begin(self, name: str, machine: Mapping[str, Any], plan: Mapping[str, Any]) -> "Recorder":
        """Measure a section anew; what was known of it is forgotten."""
        taken = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        self.sections[name] = Section(taken, dict(machine), dict(plan))
        self.save()
        return Recorder(self, self.sections[name])

    def values(self, section: str, name: str) -> list[float]:
        """A series, empty where it was not measured."""
        return self.sections.get(section, Section()).values(name)

    def fact(self, section: str, name: str) -> Any:
        """A single figure or setting, None where it is not known."""
        return self.sections.get(section, Section()).facts.get(name)

    def save(self) -> None:
        """Write the file as a whole, or where the process ends meanwhile, not at all."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(".part")
        sections = {name: _plain(section) for name, section in self.sections.items()}
        part.write_text(json.dumps(sections, indent=1))
        part.replace(self._file)


def _plain(section: Section) -> dict[str, Any]:
    return {name: getattr(section, name) for name in Section.__slots__}


class Recorder:
    """Where a section puts its figures."""

    def __init__(self, results: Results, section: Section) -> None:
        self._results = results
        self._section = section

    def add(self, name: str, unit: str, value: float) -> None:
        """One more value of a series."""
        series = self._section.series.setdefault(name, {"unit": unit, "values": []})
        series["values"].append(value)
        self._results.save()

    def fact(self, name: str, value: Any) -> None:
        """Something that is known once: a setting that was chosen, or why a part was left out."""
        self._section.facts[name] = value
        self._results.save()

    def values(self, name: str) -> list[float]:
        """What was recorded so far."""
        return self._section.values(name)
