"""Peers: the mesh beside other servers of the same model, and beside the ceiling."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from benchmarks.bench import CONNECTIONS, Bench, Best, Plan
from benchmarks.contenders import (
    Contender,
    Serving,
    classes,
    documented,
    require_answer,
    require_same,
    the_mesh,
    tuned,
)
from benchmarks.load import Closed, Target, closed_loop, half_repeating, warm_up
from benchmarks.processes import BenchError
from benchmarks.turns import Figures, in_turns

CEILING: Final = "ceiling"
# How often a contender may fail for one set of figures, before it is left out.
TRIES: Final = 3

# What one contender is found to do in so many seconds.
Turn = Callable[[float], Figures]


class Unfit(BenchError):
    """It is known whose fault it is."""

    def __init__(self, name: str, error: BenchError) -> None:
        super().__init__(str(error))
        self.name = name


def run(bench: Bench) -> None:
    """In every round the fast ones side by side, then each for itself."""
    best = bench.best
    # A worker on each core: with larger batches one takes what all connections send. With one
    # input only they hand no list to the model, and could not make use of their queues.
    batch = max(2, min(best.batch, CONNECTIONS // (os.cpu_count() or 1)))
    bench.record.fact("tuned peers' batch", batch)
    # A worker of theirs has one thread.
    parts = bench.parts(replace(best.setup, threads=1))
    bench.record.fact("tuned peers' parts of it", parts)
    bench.record.fact("turns side by side, in each run", bench.plan.turns)
    fast = [
        the_mesh(bench.folder, lambda engines: bench.record.fact("engines", engines)),
        *tuned(bench.folder, best.engine, best.dtype, batch, parts),
    ]
    ways = [(way, bench.parts(way.setup)) for way in (best, bench.quickest)]
    contest = Contest(bench)
    for _ in range(bench.plan.runs):
        contest.add(fast, partial(side_by_side, ways))
        for contender in fast:
            contest.add([contender], memory)
        for contender in documented(bench.folder):
            contest.add([contender], alone)


Measure = Callable[["Contest", Sequence[Contender]], Figures]


@dataclass
class Contest:
    """Those that are measured: `expected` are their answers, `left_out` who failed too often."""

    bench: Bench
    expected: list[str] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    def add(self, contenders: Sequence[Contender], figures: Measure) -> None:
        """Add figures of these, together.

        When one fails, all are begun again; when that one has failed TRIES times, without it.
        BenchError where what failed is none of them.
        """
        failed: Counter[str] = Counter()
        while remaining := [one for one in contenders if one.name not in self.left_out]:
            self.bench.say(f" {', '.join(one.name for one in remaining)}")
            try:
                found = figures(self, remaining)
            except Unfit as error:
                if error.name not in {one.name for one in remaining}:
                    raise
                failed[error.name] += 1
                if failed[error.name] < TRIES:
                    self.bench.say(f"  again, since {error.name} failed: {error}")
                else:
                    self.bench.leave_out(error.name, error)
                    self.left_out.add(error.name)
            else:
                for (name, unit), value in found.items():
                    self.bench.add(name, unit, value)
                return

    @contextmanager
    def serving(self, contender: Contender) -> Iterator[tuple[Serving, Target]]:
        """Start it, compare its classes with those of the first, which is the mesh, warm it up."""
        with blaming(contender.name), contender.start() as serving:
            bodies = self.bench.bodies(form=contender.form)
            found = classes(serving.url, bodies)
            self.expected = self.expected or found
            require_same(found, self.expected)
            target = Target(serving.url, bodies)
            warm_up(target, Closed(CONNECTIONS, self.bench.plan.warm))
            yield serving, target


def side_by_side(
    ways: Sequence[tuple[Best, dict[str, float]]],
    contest: Contest,
    contenders: Sequence[Contender],
) -> Figures:
    """All are started, then take turns of seconds, so that the machine's moods meet all of them.

    `ways`, and their parts, are the ceiling's for throughput and for one client.
    """
    bench = contest.bench
    with ExitStack() as stack:
        all_cores, soonest = (
            stack.enter_context(bench.ceiling(way.setup, way.processes, parts))
            for way, parts in ways
        )
        served = {one.name: stack.enter_context(contest.serving(one)) for one in contenders}
        for serving, _ in served.values():
            stack.enter_context(serving.asleep())

        def of_all(figures: Callable[[Target, float], Figures]) -> dict[str, Turn]:
            return {name: partial(_awake, figures, *one) for name, one in served.items()}

        def rate(seconds: float) -> Figures:
            found = all_cores.measure(ways[0][0].batch, seconds)
            return {("throughput", "requests/s"): found["rate"]}

        def latency(seconds: float) -> Figures:
            return {("one client", "ms"): 1000 * soonest.measure(1, seconds / 2)["median"]}

        return {
            **_in_turns({CEILING: rate, **of_all(_busy)}, bench.plan),
            **_in_turns({CEILING: latency, **of_all(_one_client)}, bench.plan),
            **_in_turns(of_all(_half_repeats), bench.plan),
        }


def _in_turns(turns: Mapping[str, Turn], plan: Plan) -> Figures:
    blamed = {name: partial(_blamed, name, turn, plan.seconds) for name, turn in turns.items()}
    return {
        (f"{name}: {figure}", unit): value
        for name, figures in in_turns(blamed, plan.turns).items()
        for (figure, unit), value in figures.items()
    }


def _blamed(name: str, turn: Turn, seconds: float) -> Figures:
    with blaming(name):
        return turn(seconds)


def _awake(
    figures: Callable[[Target, float], Figures], serving: Serving, target: Target, seconds: float
) -> Figures:
    with serving.awake():
        return figures(target, seconds)


def _busy(target: Target, seconds: float) -> Figures:
    found = closed_loop(target, Closed(CONNECTIONS, seconds))
    return {
        ("throughput", "requests/s"): found.rate,
        ("the generator's CPU", "cores"): found.cpu,
    }


def _one_client(target: Target, seconds: float) -> Figures:
    return {("one client", "ms"): 1000 * closed_loop(target, Closed(1, seconds / 2)).p50}


def _half_repeats(target: Target, seconds: float) -> Figures:
    return {("half repeats", "requests/s"): half_repeating(target, CONNECTIONS, seconds).rate}


def memory(contest: Contest, contenders: Sequence[Contender]) -> Figures:
    """Of one that others were measured beside: what it shares with them would count in parts."""
    (contender,), seconds = contenders, contest.bench.plan.seconds
    with contest.serving(contender) as (serving, target), blaming(contender.name):
        _busy(target, seconds)
        _half_repeats(target, seconds / 2)  # Caches have something to remember, too.
        return _weighed(contender, serving, target)


def alone(contest: Contest, contenders: Sequence[Contender]) -> Figures:
    """All figures of one that is too slow for turns."""
    (contender,), seconds = contenders, contest.bench.plan.seconds
    with contest.serving(contender) as (serving, target), blaming(contender.name):
        found = _busy(target, seconds) | _one_client(target, seconds)
        named = {
            (f"{contender.name}: {name}", unit): value for (name, unit), value in found.items()
        }
        return named | _weighed(contender, serving, target)


def _weighed(contender: Contender, serving: Serving, target: Target) -> Figures:
    require_answer(serving.url, target.bodies)  # One whose workers have just ended weighs little.
    return {(f"{contender.name}: memory", "MiB"): serving.memory()}


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """What fails in the block is that one's fault, unless it is known whose."""
    try:
        yield
    except Unfit:
        raise
    except BenchError as error:
        raise Unfit(name, error) from error
