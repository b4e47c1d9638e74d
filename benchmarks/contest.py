"""Contenders of a section: who is started, who failed, and whose turn it is."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from benchmarks.bench import CONNECTIONS, Bench, Plan
from benchmarks.contenders import Contender, Serving, classes, require_same, the_mesh, tuned
from benchmarks.load import Closed, Target, warm_up
from benchmarks.processes import BenchError
from benchmarks.turns import Figures, in_turns

CEILING: Final = "ceiling"
# How often a contender may fail for one set of figures, before it is left out.
TRIES: Final = 3

# What one contender is found to do in so many seconds.
Turn = Callable[[float], Figures]
Measure = Callable[["Contest", Sequence[Contender]], Figures]


class Unfit(BenchError):
    """It is known whose fault it is."""

    def __init__(self, name: str, error: BenchError) -> None:
        super().__init__(str(error))
        self.name = name


def fast_contenders(bench: Bench) -> list[Contender]:
    """The mesh, and the tuned peers with what the ceiling found best; what they have is recorded.

    BenchError where the ceiling is not known.
    """
    best = bench.best
    # A worker on each core: with larger batches one takes what all connections send. With one
    # input only they hand no list to the model, and could not make use of their queues.
    batch = max(2, min(best.batch, CONNECTIONS // (os.cpu_count() or 1)))
    bench.record.fact("tuned peers' batch", batch)
    # A worker of theirs has one thread.
    parts = bench.parts(replace(best.setup, threads=1))
    bench.record.fact("tuned peers' parts of it", parts)
    bench.record.fact("turns side by side, in each run", bench.plan.turns)
    return [
        the_mesh(bench.folder, lambda engines: bench.record.fact("engines", engines)),
        *tuned(bench.folder, best.engine, best.dtype, batch, parts),
    ]


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

    @contextmanager
    def all_serving(
        self, contenders: Sequence[Contender]
    ) -> Iterator[dict[str, tuple[Serving, Target]]]:
        """All of them at once, by name; who is restless sleeps but where it is `awake`."""
        with ExitStack() as stack:
            served = {one.name: stack.enter_context(self.serving(one)) for one in contenders}
            for serving, _ in served.values():
                stack.enter_context(serving.asleep())
            yield served


def blamed_turns(turns: Mapping[str, Turn], plan: Plan) -> Figures:
    """What all find who take turns, each figure named after whose it is; Unfit names who failed."""
    blamed = {name: partial(_blamed, name, turn, plan.seconds) for name, turn in turns.items()}
    return {
        (f"{name}: {figure}", unit): value
        for name, figures in in_turns(blamed, plan.turns).items()
        for (figure, unit), value in figures.items()
    }


def _blamed(name: str, turn: Turn, seconds: float) -> Figures:
    with blaming(name):
        return turn(seconds)


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """What fails in the block is that one's fault, unless it is known whose."""
    try:
        yield
    except Unfit:
        raise
    except BenchError as error:
        raise Unfit(name, error) from error
