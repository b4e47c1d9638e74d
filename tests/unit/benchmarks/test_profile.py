"""What the cores do, told by perf: here by a program of that name, since few machines have it."""

import time
from pathlib import Path

import pytest

from benchmarks import perf
from benchmarks.perf import GROUPS, OTHER, Sample, parse, require_perf, sample
from benchmarks.processes import BenchError
from benchmarks.sections.profile import Profiler

SITE = "/venv/lib/python3.11/site-packages"
# As perf 6.1 prints them.
SCRIPT = f"""\
          python  4321      7f24c7b00000 (/tmp/perf-4321.map)
          python  4321      7f24c7780800 ({SITE}/openvino/libs/libopenvino_intel_cpu_plugin.so)
  granian wsgi 0  4322      7f36d5aa1f38 (/usr/lib/libpython3.11.so.1.0)
         swapper     0  ffffffff81e0b2a0 ([kernel.kallsyms])
"""


@pytest.mark.parametrize(
    ("thread", "file", "group"),
    [
        ("python", "/tmp/perf-4321.map", "the networks"),
        ("python", f"{SITE}/openvino/libs/libtbb.so.12", "the networks"),
        (
            "python",
            f"{SITE}/PIL/_imaging.cpython-311-x86_64-linux-gnu.so",
            "decoding and transforms",
        ),
        ("python", f"{SITE}/pillow.libs/libjpeg-6dc8d115.so.62.4.0", "decoding and transforms"),
        ("python", "/usr/lib/libpython3.11.so.1.0", "Python"),
        ("python", "/usr/lib/python3.11/lib-dynload/_asyncio.cpython-311.so", "Python"),
        ("granian wsgi 0", "/usr/bin/python3.11", "Python"),
        ("python", f"{SITE}/uvloop/loop.cpython-311-x86_64-linux-gnu.so", "uvloop"),
        ("event_engine", f"{SITE}/grpc/_cython/cygrpc.cpython-311.so", "gRPC and protobuf"),
        ("python", "[vdso]", "the kernel"),
        ("kworker/0:0H-kb", "[kernel.kallsyms]", "the kernel"),
        ("swapper", "[kernel.kallsyms]", "idle"),
        ("wrk", "/usr/lib/libc.so.6", "wrk"),
        ("valkey-server", "/usr/lib/libc.so.6", "Redis"),
        ("python", "/usr/lib/libc.so.6", "libc"),
        ("python", "/memfd:sealed (deleted)", OTHER),
    ],
)
def test_a_sample_is_told_by_its_thread_or_its_library(thread: str, file: str, group: str) -> None:
    """Threads of Redis and wrk are theirs, also in libc."""
    assert parse(f"{thread:>16}  99      7f24c7b00000 ({file})\n") == [Sample(99, group)]


def test_lines_of_other_kinds_are_no_samples() -> None:
    """Such as what perf has to say itself."""
    assert parse("# captured on: today\n\n") == []


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program perf, before any other; it has to be written."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path / "bin/perf"


def write(program: Path, script: str) -> None:
    """Make the program of a shell's script."""
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_profile_is_core_ms_by_what_runs_and_by_process(program: Path, tmp_path: Path) -> None:
    """Of both cores: at 50 requests/s they have 40 ms for each, here 10 of them in each sample."""
    (tmp_path / "script").write_text(SCRIPT)
    write(program, f"[ $1 = record ] || cat {tmp_path}/script")
    asked: list[float] = []

    def load(seconds: float) -> float:
        asked.append(seconds)
        return 50.0

    profiler = Profiler(tmp_path / "perf.data", 2)
    found = profiler.figures(load, {"text-encoder": [4321], "gateway": [4322, 4323]}, 0.1)
    rows = {name: value for (name, _), value in found.items() if value}
    assert rows == {
        "the networks": 20,
        "Python": 10,
        "idle": 10,
        "all": 40,
        "in text-encoder": 20,
        "in text-encoder, the networks": 20,
        "in gateway": 10,
        "requests/s": 50,
    }
    assert asked == [pytest.approx(1.1)]
    assert {name for name, _ in found} > set(GROUPS)  # Also those that no sample is of.


def test_perf_samples_in_the_midst_of_the_load(program: Path, tmp_path: Path) -> None:
    """Not while it begins or ends."""
    (tmp_path / "script").write_text(SCRIPT)
    write(program, f"[ $1 = record ] && date +%s.%N > {tmp_path}/began; cat {tmp_path}/script")
    times: list[float] = []

    def load(seconds: float) -> float:
        times.append(time.time())
        time.sleep(seconds)
        times.append(time.time())
        return 50.0

    Profiler(tmp_path / "perf.data", 2).figures(load, {}, 0.1)
    began = float((tmp_path / "began").read_text())
    assert times[0] < began < times[1]


def test_why_perf_can_not_sample_is_told(program: Path, tmp_path: Path) -> None:
    """It needs to be allowed to look at all processes."""
    write(program, "echo 'Access to performance monitoring is limited' >&2; exit 255")
    with pytest.raises(BenchError, match="perf record failed: Access to performance"):
        sample(0.1, tmp_path / "perf.data")
    write(program, "exit 0")
    with pytest.raises(BenchError, match="took no samples"):
        sample(0.1, tmp_path / "perf.data")


def test_a_perf_that_hangs_is_given_up(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As everything is."""
    monkeypatch.setattr(perf, "OVERTIME", 0.1)
    write(program, "exec sleep 60")
    with pytest.raises(BenchError, match=r"perf record took over 0\.1"):
        sample(0.0, tmp_path / "perf.data")


def test_perf_has_to_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how is told."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BenchError, match="apt install linux-perf"):
        require_perf()
