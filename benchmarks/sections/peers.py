"""Peers: the mesh beside other servers of the same model, and beside the ceiling."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Final

from benchmarks.bench import CONNECTIONS, Bench
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
from benchmarks.load import Closed, Outcome, Target, closed_loop, half_repeating, warm_up
from benchmarks.processes import BenchError

# How often a server may be begun for the figures of a round.
TRIES: Final = 3

# By name and unit.
Figures = dict[tuple[str, str], float]
# One contender's figure, measured for so many seconds.
Turn = Callable[[float], float]


class Unfit(BenchError):
    """One of several contenders failed."""

    def __init__(self, name: str, error: BenchError) -> None:
        super().__init__(str(error))
        self.name = name


def run(bench: Bench) -> None:
    """In every round the fast ones side by side, then each for itself."""
    best = bench.best
    # A worker on each core: with larger batches one takes what all connections send.
    batch = min(best.batch, max(1, CONNECTIONS // (os.cpu_count() or 1)))
    bench.record.fact("tuned peers' batch", batch)
    # A worker of theirs has one thread.
    parts = bench.program("parts", best.engine, best.dtype, "1")
    bench.record.fact("tuned peers' parts of it", parts)
    fast = [
        the_mesh(bench.folder, lambda engines: bench.record.fact("engines", engines)),
        *tuned(bench.folder, best.engine, best.dtype, batch, parts),
    ]
    contest = Contest(bench)
    for _ in range(bench.plan.runs):
        contest.add(fast, side_by_side)
        for contender in fast:
            contest.add([contender], memory)
        for contender in documented(bench.folder):
            contest.add([contender], alone)


@dataclass
class Contest:
    """Those that are measured: `expected` are their answers, `left_out` who failed too often."""

    bench: Bench
    expected: list[str] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    def add(self, contenders: Sequence[Contender], figures: "Measure") -> None:
        """Add figures of these, together.

        When one fails, all are begun again; when that one has been begun TRIES times, without it.
        BenchError where what failed is none of them.
        """
        failed: Counter[str] = Counter()
        while left := [one for one in contenders if one.name not in self.left_out]:
            self.bench.say(f" {', '.join(one.name for one in left)}")
            try:
                found = figures(self, left)
            except Unfit as error:
                if error.name not in {one.name for one in left}:
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


Measure = Callable[[Contest, Sequence[Contender]], Figures]


def side_by_side(contest: Contest, contenders: Sequence[Contender]) -> Figures:
    """All are started, then take turns of seconds, so that the machine's moods meet all of them."""
    bench = contest.bench
    best, quickest = bench.best, bench.quickest
    with ExitStack() as stack:
        all_cores = stack.enter_context(bench.ceiling(best.setup, best.processes))
        soonest = stack.enter_context(bench.ceiling(quickest.setup, quickest.processes))
        served = {one.name: stack.enter_context(contest.serving(one)) for one in contenders}
        for serving, _ in served.values():
            stack.enter_context(serving.asleep())

        def of_all(figure: Callable[[Target, float], float]) -> dict[str, Turn]:
            return {name: partial(_awake, figure, *one) for name, one in served.items()}

        rate = {"ceiling": lambda seconds: all_cores.measure(best.batch, seconds)["rate"]}
        latency = {"ceiling": lambda seconds: 1000 * soonest.measure(1, seconds / 2)["median"]}
        kinds: Mapping[tuple[str, str], Mapping[str, Turn]] = {
            ("throughput", "requests/s"): rate | of_all(_throughput),
            ("one client", "ms"): latency | of_all(_one_client),
            ("half repeats", "requests/s"): of_all(_half_repeats),
        }
        return {
            (f"{name}: {kind}", unit): figure
            for (kind, unit), turns in kinds.items()
            for name, figure in _in_turns(bench, turns).items()
        }


def _in_turns(bench: Bench, turns: Mapping[str, Turn]) -> dict[str, float]:
    """The mean of each one's turns."""
    found: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(bench.plan.turns):
        for name, turn in turns.items():
            with blaming(name):
                found[name].append(turn(bench.plan.seconds))
    return {name: fmean(figures) for name, figures in found.items()}


def _awake(
    figure: Callable[[Target, float], float], serving: Serving, target: Target, seconds: float
) -> float:
    with serving.awake():
        return figure(target, seconds)


def _throughput(target: Target, seconds: float) -> float:
    return closed_loop(target, Closed(CONNECTIONS, seconds)).rate


def _one_client(target: Target, seconds: float) -> float:
    return 1000 * closed_loop(target, Closed(1, seconds / 2)).p50


def _half_repeats(target: Target, seconds: float) -> float:
    return half_repeating(target, CONNECTIONS, seconds).rate


def memory(contest: Contest, contenders: Sequence[Contender]) -> Figures:
    """Of one that others were measured beside: what it shares with them would count in parts."""
    (contender,), seconds = contenders, contest.bench.plan.seconds
    with contest.serving(contender) as (serving, target), blaming(contender.name):
        busy = closed_loop(target, Closed(CONNECTIONS, seconds))
        half_repeating(target, CONNECTIONS, seconds / 2)
        return _at_its_end(contender, busy, serving, target)


def alone(contest: Contest, contenders: Sequence[Contender]) -> Figures:
    """All figures of one that is too slow for turns."""
    (contender,), seconds = contenders, contest.bench.plan.seconds
    with contest.serving(contender) as (serving, target), blaming(contender.name):
        busy = closed_loop(target, Closed(CONNECTIONS, seconds))
        one = _one_client(target, seconds)
        return {
            (f"{contender.name}: throughput", "requests/s"): busy.rate,
            (f"{contender.name}: one client", "ms"): one,
            **_at_its_end(contender, busy, serving, target),
        }


def _at_its_end(contender: Contender, busy: Outcome, serving: Serving, target: Target) -> Figures:
    require_answer(serving.url, target.bodies)  # One whose workers have just ended weighs little.
    return {
        (f"{contender.name}: the generator's CPU", "cores"): busy.cpu,
        (f"{contender.name}: memory", "MiB"): serving.memory(),
    }


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """What fails in the block is that one's fault, unless it is known whose."""
    try:
        yield
    except Unfit:
        raise
    except BenchError as error:
        raise Unfit(name, error) from error
