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

from benchmarks.bars import FASTEST, FASTEST_HALF
from benchmarks.bench import CONNECTIONS, Bench
from benchmarks.contenders import MESH, Contender, Serving
from benchmarks.contest import CEILING, Contest, Turn, blamed_turns, blaming, fast_contenders
from benchmarks.load import HALF, Closed, Target, closed_loop, send_what_repeats
from benchmarks.peers import TUNED
from benchmarks.perf import NETWORKS, Sample, counted, read, record, require_perf
from benchmarks.processes import BenchError
from benchmarks.turns import Figures

# Seconds of load before perf is started, and beyond what it samples: on busy cores it reads for up
# to two seconds what all processes have mapped, before it begins.
BEFORE: Final = 0.5
BEYOND: Final = 4.0
UNIT: Final = "core-ms"
ALL: Final = "all"
# How names of encoders' processes end.
ENCODER: Final = "-encoder"

# Requests a second in so many seconds of load.
Load = Callable[[float], float]


def run(bench: Bench) -> None:
    """In every round, side by side. BenchError where perf can't sample here."""
    profiler = Profiler(bench.folder / "perf.data")
    require_perf(profiler.file)
    fastest = {FASTEST(bench.results, TUNED), FASTEST_HALF(bench.results, TUNED)}
    if "" in fastest:
        raise BenchError("the section peers has to run first")
    contenders = [one for one in fast_contenders(bench) if one.name in {MESH, *fastest}]
    parts, contest = bench.parts(bench.best.setup), Contest(bench)
    for _ in range(bench.plan.runs):
        contest.add(contenders, partial(side_by_side, profiler, parts))


@dataclass(frozen=True, slots=True)
class Profiler:
    """Samples all cores; perf writes to `file`."""

    file: Path

    def figures(
        self, load: Load, processes: Mapping[str, Sequence[int]], seconds: float
    ) -> Figures:
        """Core-milliseconds for a request under a load, by what runs and by process."""
        with ThreadPoolExecutor(1) as beside:
            loaded = beside.submit(_timed, load, seconds + BEYOND)
            time.sleep(BEFORE)
            with blaming("perf"):
                sampled = record(seconds, self.file)
            rate, ended = loaded.result()
        with blaming("perf"):
            if sampled > ended:
                raise BenchError(f"perf sampled for {sampled - ended:.2f} s after the load")
            rows = _rows(read(self.file, seconds), processes)
        of_each = 1000 * (os.cpu_count() or 1) / rate / rows[ALL]
        return {(name, UNIT): of_each * count for name, count in rows.items()}


def _timed(load: Load, seconds: float) -> tuple[float, float]:
    """What a load finds, and when it ended."""
    return load(seconds), time.clock_gettime(time.CLOCK_BOOTTIME)


def _rows(samples: Sequence[Sample], processes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """How many samples each row has, 0 where none: all turns have the same rows."""
    rows = counted(samples) | {ALL: len(samples)}
    for name, pids in processes.items():
        mine = [one for one in samples if one.pid in pids]
        rows[f"in {name}"] = len(mine)
        if name.endswith(ENCODER):  # Fusion's network is next to nothing.
            rows[f"in {name}, {NETWORKS}"] = counted(mine)[NETWORKS]
    return rows


def side_by_side(
    profiler: Profiler,
    parts: Mapping[str, float],
    contest: Contest,
    contenders: Sequence[Contender],
) -> Figures:
    """All are started, then take turns: first with fresh inputs, then with half of them.

    `parts` are the ceiling's.
    """
    bench, way = contest.bench, contest.bench.best
    with ExitStack() as stack:
        ceiling = stack.enter_context(bench.ceiling(way.setup, way.processes, parts))
        served = stack.enter_context(contest.all_serving(contenders))

        def rate(seconds: float) -> float:
            return ceiling.measure(way.batch, seconds)["rate"]

        def turns(fresh: float) -> dict[str, Turn]:
            return {name: partial(_turn, profiler, fresh, *one) for name, one in served.items()}

        of_ceiling: Turn = partial(profiler.figures, rate, {})
        fresh = blamed_turns({CEILING: of_ceiling, **turns(1.0)}, bench.plan)
        half = blamed_turns(turns(HALF), bench.plan)
    return dict(_by_row(fresh, "")) | dict(_by_row(half, ", half repeats"))


def _turn(
    profiler: Profiler, fresh: float, serving: Serving, target: Target, seconds: float
) -> Figures:
    with serving.awake():
        if fresh < 1:
            send_what_repeats(target, CONNECTIONS, seconds)
        return profiler.figures(partial(_rate, target, fresh), serving.processes(), seconds)


def _rate(target: Target, fresh: float, seconds: float) -> float:
    return closed_loop(target, Closed(CONNECTIONS, seconds, fresh)).rate


def _by_row(figures: Figures, condition: str) -> Iterator[tuple[tuple[str, str], float]]:
    """Figures of contenders, for a table with a row for each figure and a column for each one."""
    for (name, unit), value in figures.items():
        contender, _, figure = name.partition(": ")
        yield (f"{figure}: {contender}{condition}", unit), value
