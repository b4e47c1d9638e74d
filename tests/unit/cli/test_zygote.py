"""Which commands the process manager runs in forks of itself."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.stop_time import stop_seconds
from cli.supervision import configuration
from cli.topology import Process
from cli.zygote import Options, Program, give_time_to_stop, load


def test_a_package_of_python_is_a_program() -> None:
    """With its settings, which may hold anything, and its arguments."""
    words = ["/usr/bin/env", "MESH_A=1", "MESH_B=x = y", sys.executable, "-m", "gateway", "-v"]
    assert Program.of(words) == Program({"MESH_A": "1", "MESH_B": "x = y"}, "gateway", ["-v"])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["env"],
        ["env", "A=1"],
        ["env", "redis-server", "--save", ""],
        ["env", sys.executable, "a.py"],
        ["env", sys.executable, "-m"],
        ["env", "another-python", "-m", "gateway"],
        [sys.executable, "-m", "gateway"],
    ],
)
def test_any_other_command_is_executed(words: list[str]) -> None:
    """Redis, say, or another interpreter."""
    assert Program.of(words) is None


def test_what_can_not_be_loaded_is_left_to_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named; the program's own log then says what is wrong. All others are loaded."""
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in {"breaks": "1 / 0", "leaves": "raise SystemExit(3)"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    names = [
        "breaks",
        "leaves",
        "no_such_package",
        "json.decoder",
        "tests.integration.loaded_ahead",
    ]

    assert load([Program({}, name, []) for name in names]) == {names[-1]}

    assert f"{names[-1]}.__main__" not in sys.modules
    told = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in told] == [f"{name}.__main__" for name in names[:-1]]


def test_every_process_gets_the_time_to_stop_that_settings_grant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many ranks there are; supervisor's own ten seconds would drop what was taken in."""
    monkeypatch.setenv("MESH_DRAIN", "321")
    (tmp_path / "logs").mkdir()
    file = tmp_path / "supervisord.conf"
    ranks = range(3)
    file.write_text(configuration([Process(f"p{n}", ("true",), {}, "", n) for n in ranks]))
    options = Options()
    options.realize(["-n", "-c", str(file)])

    give_time_to_stop(options)

    given = [p.stopwaitsecs for g in options.process_group_configs for p in g.process_configs]
    assert given == [stop_seconds() for _ in ranks]
    assert given[0] > 321


CHILD = """
import os, signal
from cli.zygote import Options
signal.signal(signal.SIGTERM, lambda number, frame: None)
options = Options()
pid = options.fork()
if pid == 0:
    os.kill(os.getpid(), signal.SIGTERM)
    options.execve("/bin/sleep", ["sleep", "9"], {})
_, status = os.waitpid(pid, 0)
print(os.WTERMSIG(status), *signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
def test_a_child_that_is_told_to_stop_as_soon_as_it_is_there_stops() -> None:
    """Its parent's handlers, which it has at first, would swallow that; the parent goes on."""
    said = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=True, timeout=30
    )
    assert said.stdout.split() == [str(signal.SIGTERM.value)]
