"""The section profile: perf is a program of that name that tests write, and servers are fakes."""

import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import perf
from benchmarks.bench import Bench, Plan
from benchmarks.bodies import MULTIPART
from benchmarks.contenders import MESH, Contender, Serving
from benchmarks.contest import Contest, Unfit
from benchmarks.load import Closed
from benchmarks.perf import GROUPS, OTHER, Sample, parse, read, record, require_perf
from benchmarks.processes import BenchError
from benchmarks.results import Results
from benchmarks.sections import profile
from benchmarks.sections.profile import Profiler

SITE = "/venv/lib/python3.11/site-packages"
# As perf 6.1 prints them: two of an encoder's network, one of the gateway's Python, one of nothing.
SCRIPT = f"""\
          python  4321      7f24c7b00000 (/tmp/perf-4321.map)
          python  4321      7f24c7780800 ({SITE}/openvino/libs/libopenvino_intel_cpu_plugin.so)
  granian wsgi 0  4322      7f36d5aa1f38 (/usr/lib/libpython3.11.so.1.0)
         swapper     0  ffffffff81e0b2a0 ([kernel.kallsyms])
"""
PROCESSES = {"text-encoder": [4321], "gateway": [4322, 4323]}


@pytest.mark.parametrize(
    ("thread", "file", "group"),
    [
        ("python", "/tmp/perf-4321.map", "the networks"),
        ("python", f"{SITE}/openvino/libs/libtbb.so.12", "the networks"),
        ("python", f"{SITE}/PIL/_imaging.cpython-311.so", "decoding and transforms"),
        ("python", f"{SITE}/pillow.libs/libjpeg-6d.so.62.4.0", "decoding and transforms"),
        ("python", "/usr/lib/libpython3.11.so.1.0", "Python"),
        ("python", "/usr/lib/python3.11/lib-dynload/_asyncio.cpython-311.so", "Python"),
        ("granian wsgi 0", "/usr/bin/python3.11", "Python"),
        ("granian wsgi 0", f"{SITE}/uvloop/loop.cpython-311.so", "loops, HTTP and hashing"),
        ("event_engine", f"{SITE}/grpc/_cython/cygrpc.cpython-311.so", "gRPC and protobuf"),
        ("kworker/0:0H-kb", "[kernel.kallsyms]", "the kernel"),
        ("python", "[vdso]", "libc"),
        ("python", "[unknown]", OTHER),
        ("python", "/memfd:sealed (deleted)", OTHER),
        ("swapper", "[kernel.kallsyms]", "idle"),
        ("wrk", "/usr/lib/libc.so.6", "wrk"),
        ("valkey-server", "/usr/lib/libc.so.6", "Redis"),
        ("redis-server", "[kernel.kallsyms]", "Redis"),
        ("python", "/usr/lib/libc.so.6", "libc"),
    ],
)
def test_a_sample_is_told_by_its_thread_or_its_file(thread: str, file: str, group: str) -> None:
    """Threads of Redis and wrk are theirs, also in libc and the kernel."""
    assert parse(f"# a comment\n\n{thread:>16}    -1   7f24c7b00000 ({file})\n") == [
        Sample(-1, group)
    ]


def test_a_line_that_is_no_sample_is_not_lost() -> None:
    """Else all others would count for more."""
    with pytest.raises(BenchError, match="no sample: '99 python'"):
        parse("99 python\n")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program perf, before any other; it has to be written. Few samples are due."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "script").write_text(SCRIPT)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(perf, "HERTZ", 20)
    monkeypatch.setattr(profile, "BEYOND", 0.02)
    monkeypatch.setattr(profile.os, "cpu_count", lambda: 2)
    return tmp_path / "bin/perf"


def write(program: Path, script: str) -> None:
    """Make the program of a shell's script; it may print the samples in the file "script"."""
    program.write_text(f"#!/bin/sh\nset -e; cd {program.parent.parent}\n{script}\n")
    program.chmod(0o755)


RECORDS = 'until [ $1 = -- ]; do shift; done; shift; "$@"; sleep 0.1'
PRINTS = f"if [ $1 = record ]; then {RECORDS}; else cat script; fi"


def test_a_profile_is_core_ms_by_what_runs_and_by_process(program: Path) -> None:
    """Two cores have 40 ms for each of 50 requests/s, of which each of four samples is 10."""
    write(program, PRINTS)
    asked: list[float] = []

    def load(seconds: float) -> float:
        asked.append(seconds)
        time.sleep(1)
        return 50.0

    found = Profiler(program.with_name("perf.data")).figures(load, PROCESSES, 0.1)
    rows = {name: value for (name, unit), value in found.items() if value and unit == "core-ms"}
    assert rows == {
        "the networks": 20,
        "Python": 10,
        "idle": 10,
        "all": 40,
        "in text-encoder": 20,
        "in text-encoder, the networks": 20,
        "in gateway": 10,
    }
    assert asked == [pytest.approx(0.12)]
    assert {name for name, _ in found} > set(GROUPS)  # Also those that no sample is of.


def test_what_perf_does_afterwards_is_not_beside_the_load(program: Path) -> None:
    """It would take cores from it."""
    folder = program.parent.parent
    write(program, f"if [ $1 = record ]; then {RECORDS}; else cat ended script; fi")

    def load(seconds: float) -> float:
        time.sleep(1)
        (folder / "ended").touch()
        return 50.0

    assert Profiler(program.with_name("perf.data")).figures(load, {}, 0.1)


def test_samples_of_no_load_are_refused(program: Path) -> None:
    """Where perf began late, or the load ended early."""
    write(program, PRINTS)
    with pytest.raises(Unfit, match="after the load") as raised:
        Profiler(program.with_name("perf.data")).figures(lambda _: 50.0, {}, 0.1)
    assert raised.value.name == "perf"


def test_why_a_load_failed_is_told(program: Path) -> None:
    """Not that perf sampled when it had."""
    write(program, PRINTS)

    def fails(seconds: float) -> float:
        raise BenchError("not all requests were answered")

    with pytest.raises(BenchError, match="not all requests"):
        Profiler(program.with_name("perf.data")).figures(fails, {}, 0.1)


def test_why_perf_can_not_sample_is_told(program: Path, tmp_path: Path) -> None:
    """It needs to be allowed to look at all processes, and to find most samples in time."""
    write(program, "echo 'Access to performance monitoring is limited' >&2; exit 255")
    with pytest.raises(BenchError, match="perf record failed: Access to performance"):
        require_perf(tmp_path / "perf.data")
    write(program, PRINTS)
    require_perf(tmp_path / "perf.data")
    with pytest.raises(BenchError, match="took 4 samples of 40"):
        read(tmp_path / "perf.data", 1.0)
    write(program, "")
    with pytest.raises(BenchError, match="did not run"):
        require_perf(tmp_path / "perf.data")


def test_a_perf_that_hangs_is_given_up(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As everything is."""
    monkeypatch.setattr(perf, "OVERTIME", 0.1)
    write(program, "exec sleep 60")
    with pytest.raises(BenchError, match=r"perf record took over 0\.1"):
        record(0.0, tmp_path / "perf.data")


def test_perf_has_to_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how is told."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="apt install linux-perf"):
        require_perf(tmp_path / "perf.data")


class Field:
    """A bench, and three contenders that do nothing; `events` is what happened, in its order."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[str] = []
        plan, results = Plan.of(quick=True, runs=1), Results(folder / "results.json")
        peers = results.begin("peers", {}, {})
        for name, rate in (("slow", 1.0), ("fast", 2.0)):
            peers.add(f"{name}: throughput", "requests/s", rate)
            peers.add(f"{name}: half repeats", "requests/s", rate)
        record = results.begin("profile", {}, plan.plain())
        self.bench = Bench(plan, folder, results, record, lambda _: None)
        self.bench.__dict__["best"] = SimpleNamespace(setup=None, processes=2, batch=8)
        self.bench.parts = lambda _: {}
        ceiling = SimpleNamespace(measure=lambda batch, seconds: {"rate": 100.0})
        self.bench.ceiling = lambda *_: nullcontext(ceiling)
        names = (MESH, "slow", "fast")
        fakes = [Contender(name, MULTIPART, lambda: nullcontext()) for name in names]
        tuned = [SimpleNamespace(name=name) for name in names[1:]]
        monkeypatch.setattr(profile, "TUNED", tuned)
        monkeypatch.setattr(profile, "require_perf", lambda _: None)
        monkeypatch.setattr(profile, "fast_contenders", lambda _: fakes)
        monkeypatch.setattr(Contest, "serving", self._serving)
        monkeypatch.setattr(profile, "closed_loop", self._closed_loop)
        monkeypatch.setattr(profile, "send_what_repeats", self._repeats)
        monkeypatch.setattr(Profiler, "figures", self._figures)

    @contextmanager
    def _serving(self, one: Contender) -> Any:
        self.events.append(f"{one.name} starts")
        processes = {"gateway": [1]} if one.name == MESH else {}
        yield Serving(one.name, lambda: 1.0, list, lambda: processes), SimpleNamespace(url=one.name)

    def _closed_loop(self, target: Any, load: Closed) -> Any:
        self.events.append(f"{target.url} {load.fresh:g}")
        return SimpleNamespace(rate=50.0)

    def _repeats(self, target: Any, connections: int, seconds: float) -> None:
        self.events.append(f"{target.url} repeats")

    def _figures(self, load: Any, processes: Any, seconds: float) -> Any:
        found = {("all", "core-ms"): 2000 / load(seconds)}
        return found | {(f"in {name}", "core-ms"): 3.0 for name in processes}


def test_the_mesh_is_beside_the_ceiling_and_the_fastest_tuned_peer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fresh inputs, then with half of them, of which the others were sent before."""
    field = Field(tmp_path, monkeypatch)
    profile.run(field.bench)
    record = field.bench.record
    assert field.events == [
        *("mesh starts", "fast starts"),
        *("mesh 1", "fast 1"),
        *("mesh repeats", "mesh 0.5", "fast repeats", "fast 0.5"),
    ]
    assert record.values("all: ceiling") == [20]
    assert record.values("all: mesh") == record.values("all: fast, half repeats") == [40]
    assert record.values("in gateway: mesh, half repeats") == [3]
    assert record.values("all: slow") == record.values("in gateway: fast") == []


def test_without_peers_nothing_says_which_one_is_the_fastest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to run first."""
    field = Field(tmp_path, monkeypatch)
    del field.bench.results.sections["peers"]
    with pytest.raises(BenchError, match="the section peers has to run first"):
        profile.run(field.bench)
