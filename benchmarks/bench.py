"""What every section of a benchmark is given: how long, where, and with what."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.bodies import EVERYTHING, MULTIPART, Bodies, Form, write_bodies
from benchmarks.ceiling_process import Ceiling, ceiling
from benchmarks.inputs import ROOT
from benchmarks.processes import MALLOC, BenchError, Command, last_words, running
from benchmarks.results import Recorder, Results
from benchmarks.setup import Setup

# Connections of the bars, and those that keep a server busy for sure.
CONNECTIONS: Final = 16
MANY_CONNECTIONS: Final = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: `runs` of each figure, of `seconds` after a warm-up of `warm`.

    Contenders side by side, and saturation with the loads that are shares of it, take `turns` of
    that in each run. `requests` are those after which memory is weighed, a tenth of them cancelled;
    `batches` are the sizes that are compared, `ways` those that the ceiling is looked for with.
    """

    quick: bool
    runs: int
    turns: int
    seconds: float
    warm: float
    requests: int
    batches: tuple[int, ...]
    ways: tuple[int, ...]

    @classmethod
    def of(cls, quick: bool, runs: int | None) -> Self:
        """The whole thing, or one that takes minutes and only shows that all works."""
        if quick:
            return cls(
                quick=True,
                runs=runs or 1,
                turns=1,
                seconds=2,
                warm=1,
                requests=2_000,
                batches=(1, 4),
                ways=(1, 4),
            )
        return cls(
            quick=False,
            runs=runs or 3,
            turns=3,
            seconds=4,
            warm=2,
            requests=100_000,
            batches=(1, 2, 4, 8, 16, 32),
            ways=(1, 8, 16),
        )

    def plain(self) -> dict[str, Any]:
        """For the results' file, as it will be read from there."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


@dataclass(frozen=True, slots=True)
class Best:
    """The fastest way to do the complete work: engine, dtype, processes, their threads, batch."""

    engine: str
    dtype: str
    processes: int
    threads: int
    batch: int

    @property
    def setup(self) -> Setup:
        """What each process is set to."""
        return Setup(self.engine, self.dtype, self.threads)


@dataclass
class Bench:
    """One section's surroundings."""

    plan: Plan
    folder: Path
    results: Results
    record: Recorder
    say: Callable[[str], None]

    def bodies(self, mix: str = EVERYTHING, form: Form = MULTIPART) -> Bodies:
        """Bodies of a mix, on disk."""
        return write_bodies(self.folder / "bodies", mix, form)

    def add(self, name: str, unit: str, value: float) -> None:
        """Record one value and show it."""
        self.record.add(name, unit, value)
        self.say(f"  {name}: {value:.4g} {unit}")

    def leave_out(self, name: str, error: BenchError) -> None:
        """Record why something was not measured."""
        reason = str(error).replace(f"{ROOT}/", "")
        self.record.fact(f"left out: {name}", reason)
        self.say(f"  {name} left out: {reason}")

    def program(self, name: str, *arguments: str) -> dict[str, Any]:
        """What a program of this package prints as JSON; BenchError where it fails."""
        argv = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        log = self.folder / f"logs/{name}.log"
        with running(Command(argv, log, MALLOC)) as process:
            code = process.wait()
        last = last_words(log).rpartition("\n")[2]
        if code != 0 or not last.startswith("{"):
            raise BenchError(last or f"{name} ended with {code}")
        found: dict[str, Any] = json.loads(last)
        return found

    def parts(self, setup: Setup) -> dict[str, float]:
        """What one run of each model costs at most, as a node with such an engine would find it."""
        return self.program("parts", setup.engine, setup.dtype, str(setup.threads))

    def ceiling(
        self, setup: Setup, processes: int, parts: Mapping[str, float]
    ) -> AbstractContextManager[Ceiling]:
        """The complete work in one way, to be timed while the block lasts."""
        log = self.folder / f"logs/ceiling-{processes}x{setup.threads}.log"
        return ceiling(setup, processes, parts, log)

    @cached_property
    def best(self) -> Best:
        """What the section `ceiling` found fastest; BenchError where it was not run."""
        return Best(**self._known("best"))

    @cached_property
    def quickest(self) -> Best:
        """What it found to answer one request soonest."""
        return Best(**self._known("quickest"))

    def _known(self, name: str) -> dict[str, Any]:
        found = self.results.fact("ceiling", name)
        if not found:
            raise BenchError("the section ceiling has to run first")
        return dict(found)


def commit() -> str:
    """What is measured, by git; empty without it."""
    argv = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
