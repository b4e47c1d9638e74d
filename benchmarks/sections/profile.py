"""Profile: what the cores do for one request, in the ceiling, the mesh and the best tuned peer."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.bars import FASTEST
from benchmarks.bench import CONNECTIONS, Bench
from benchmarks.contenders import MESH, Contender, Serving
from benchmarks.contest import CEILING, Contest, Turn, blamed_turns, fast
from benchmarks.load import Closed, Target, closed_loop, warm_up
from benchmarks.peers import TUNED
from benchmarks.perf import NETWORKS, Sample, counted, require_perf, sample
from benchmarks.processes import BenchError
from benchmarks.turns import Figures

# Seconds of load before what is sampled, and after it.
MARGIN: Final = 0.5
# Throughput while perf samples, which takes some time itself.
RATE: Final = "requests/s"
ALL: Final = "all"
# How names of such processes end.
ENCODER: Final = "-encoder"

# Requests a second in so many seconds of load.
Load = Callable[[float], float]


def run(bench: Bench) -> None:
    """In every round, side by side. BenchError where perf can't sample here."""
    require_perf()
    best = FASTEST(bench.results, TUNED)
    if not best:
        raise BenchError("the section peers has to run first")
    contenders = [one for one in fast(bench) if one.name in (MESH, best)]
    parts, contest = bench.parts(bench.best.setup), Contest(bench)
    for _ in range(bench.plan.runs):
        contest.add(contenders, partial(side_by_side, parts))


def side_by_side(
    parts: Mapping[str, float], contest: Contest, contenders: Sequence[Contender]
) -> Figures:
    """All are started, then take turns: first with fresh inputs, then with half of them.

    `parts` are the ceiling's.
    """
    bench, best = contest.bench, contest.bench.best
    profiler = Profiler(bench.folder / "perf.data", len(os.sched_getaffinity(0)))
    with ExitStack() as stack:
        ceiling = stack.enter_context(bench.ceiling(best.setup, best.processes, parts))
        served = stack.enter_context(contest.all_serving(contenders))

        def rate(seconds: float) -> float:
            return ceiling.measure(best.batch, seconds)["rate"]

        def turns(fresh: float) -> dict[str, Turn]:
            return {name: partial(_turn, profiler, fresh, *one) for name, one in served.items()}

        of_ceiling: Turn = partial(profiler.figures, rate, {})
        fresh = blamed_turns({CEILING: of_ceiling, **turns(1.0)}, bench.plan)
        found = dict(_by_row(fresh, ""))
        return found | dict(_by_row(blamed_turns(turns(0.5), bench.plan), ", half repeats"))


def _turn(
    profiler: "Profiler", fresh: float, serving: Serving, target: Target, seconds: float
) -> Figures:
    with serving.awake():
        if fresh < 1:  # What repeats has been sent before.
            warm_up(target, Closed(CONNECTIONS, seconds / 4, fresh=0))
        return profiler.figures(partial(_rate, target, fresh), serving.processes(), seconds)


def _rate(target: Target, fresh: float, seconds: float) -> float:
    return closed_loop(target, Closed(CONNECTIONS, seconds, fresh)).rate


def _by_row(figures: Figures, condition: str) -> Iterator[tuple[tuple[str, str], float]]:
    """Figures of contenders, for a table with a row for each figure and a column for each one."""
    for (name, unit), value in figures.items():
        contender, _, figure = name.partition(": ")
        yield (f"{figure}: {contender}{condition}", unit), value


@dataclass(frozen=True, slots=True)
class Profiler:
    """Samples so many cores; perf writes to `file`."""

    file: Path
    cores: int

    def figures(
        self, load: Load, processes: Mapping[str, Sequence[int]], seconds: float
    ) -> Figures:
        """Core-milliseconds for a request under a load, by what runs and by process."""
        with ThreadPoolExecutor(1) as beside:
            loaded = beside.submit(load, seconds + 2 * MARGIN)
            time.sleep(MARGIN)
            samples = sample(seconds, self.file)
            rate = loaded.result()
        one = 1000 * self.cores / rate / len(samples)
        rows = {name: one * count for name, count in _rows(samples, processes).items()}
        return {(name, ""): value for name, value in (rows | {RATE: rate}).items()}


def _rows(samples: Sequence[Sample], processes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """How many samples each row has, 0 where none: all turns have the same rows."""
    rows = counted(samples) | {ALL: len(samples)}
    for name, pids in processes.items():
        mine = [one for one in samples if one.pid in pids]
        rows[f"in {name}"] = len(mine)
        if name.endswith(ENCODER):  # Fusion's network is next to nothing.
            rows[f"in {name}, {NETWORKS}"] = counted(mine)[NETWORKS]
    return rows
