"""What is to be reached, all of it here: each bar's figure, from the results, and its limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.contenders import MESH
from benchmarks.peers import PEERS, TUNED, Peer
from benchmarks.results import Results, Spread, ratios

Figure = Callable[[Results], list[float]]
Best = Callable[[Results, Sequence[Peer]], str]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: `figure` gives a value for each round; the median has to keep to the limit."""

    name: str
    figure: Figure
    sign: Literal[">=", "<=", "<"]
    limit: float
    unit: str = ""

    def met(self, spread: Spread) -> bool:
        """Whether the median keeps to it."""
        if self.sign == ">=":
            return spread.median >= self.limit
        return spread.median <= self.limit if self.sign == "<=" else spread.median < self.limit

    @property
    def wanted(self) -> str:
        """The limit, as people write it."""
        return f"{self.sign} {self.limit:g}{self.unit and ' ' + self.unit}"


def _of(section: str, one: str, other: str) -> Figure:
    """The ratio of two series of a section, round by round."""
    return lambda found: ratios(found.values(section, one), found.values(section, other))


def _series(section: str, name: str) -> Figure:
    return lambda found: found.values(section, name)


def _best_peer(what: str, peers: Sequence[Peer], best: Best) -> Figure:
    """The mesh's series over that of the best of these peers."""

    def figure(found: Results) -> list[float]:
        name = best(found, peers)
        theirs = found.values("peers", f"{name}: {what}")
        return ratios(found.values("peers", f"{MESH}: {what}"), theirs)

    return figure


def _by(what: str, best: Callable[..., str]) -> Best:
    """The peer whose median of a series is the best; empty where none was measured."""

    def choose(found: Results, peers: Sequence[Peer]) -> str:
        series = {peer.name: found.values("peers", f"{peer.name}: {what}") for peer in peers}
        medians = {name: Spread.of(values).median for name, values in series.items() if values}
        return best(medians, key=medians.__getitem__, default="")

    return choose


def _grown(found: Results) -> list[float]:
    """In every run the most that any process's memory changed from early to late, as a ratio.

    Redis is not among them, nor the sum that it is in: it is a cache that fills up to its bound.
    """
    section = found.sections.get("memory")
    names = [name.removesuffix(": late") for name in section.series] if section else []
    pairs = [
        (found.values("memory", f"{n}: late"), _early(found, n))
        for n in names
        if n not in ("redis", "all")
    ]
    grown = [ratios(late, early) for late, early in pairs if late and early]
    return [max(of_one_run) for of_one_run in zip(*grown, strict=False)]


def _early(found: Results, name: str) -> list[float]:
    return found.values("memory", f"{name}: early")


THROUGHPUT: Final = f"{MESH}: throughput"
FASTEST: Final = _by("throughput", max)
FASTEST_HALF: Final = _by("half repeats", max)

BARS: Final[Sequence[Bar]] = (
    Bar(
        "nothing cached, 16 connections: of the ceiling",
        _of("peers", THROUGHPUT, "ceiling: throughput"),
        ">=",
        0.80,
    ),
    Bar(
        "the same: times the best peer by its docs",
        _best_peer("throughput", PEERS, FASTEST),
        ">=",
        5.0,
    ),
    Bar("the same: times the best tuned peer", _best_peer("throughput", TUNED, FASTEST), ">=", 0.9),
    Bar(
        "half of the inputs repeat: times the best tuned peer",
        _best_peer("half repeats", TUNED, FASTEST_HALF),
        ">=",
        1.5,
    ),
    Bar(
        "one client: latency over that in one process",
        _of("peers", f"{MESH}: one client", "ceiling: one client"),
        "<=",
        1.3,
    ),
    Bar(
        "one client: latency over the best peer's, tuned or not",
        _best_peer("one client", (*PEERS, *TUNED), _by("one client", min)),
        "<",
        1.0,
    ),
    Bar(
        "resident memory of all processes over the best tuned peer's",
        _best_peer("memory", TUNED, FASTEST),
        "<",
        1.0,
    ),
    Bar(
        "all cached: of a constant answer by the same server",
        _of("mixes", "all cached", "constant answer"),
        ">=",
        0.7,
    ),
    Bar("all cached: times nothing cached", _of("mixes", "all cached", "nothing cached"), ">=", 10),
    Bar("70 % of saturation: p99 over p50", _of("latency", "70 %: p99", "70 %: p50"), "<=", 3.0),
    Bar(
        "twice saturation: goodput of the peak", _of("overload", "goodput", "saturation"), ">=", 0.9
    ),
    Bar("twice saturation: p99 of refusals", _series("overload", "refusals: p99"), "<", 50, "ms"),
    Bar("replicas 1 to 2", _of("scaling", "2 replicas", "1 replicas"), ">=", 1.9),
    Bar("replicas 1 to 4", _of("scaling", "4 replicas", "1 replicas"), ">=", 3.6),
    Bar("memory late over early, of the process that grew most", _grown, "<=", 1.05),
    Bar("second start to its first answer", _series("start", "warm"), "<=", 10.0, "s"),
)
