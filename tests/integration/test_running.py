"""The life of a local mesh: real supervisor, real signals, fake nodes."""

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.fake_mesh import WORD
from tests.running_mesh import RunningMesh


def run(logs: Path, how: str = "serve", **settings: str) -> RunningMesh:
    """fake_mesh.py, with a node that does as told."""
    argv = [sys.executable, "-m", "tests.integration.fake_mesh", str(logs), how]
    return RunningMesh(argv, logs, **settings)


@pytest.fixture(autouse=True)
def hears_hangups() -> Iterator[None]:
    """Who starts the tests by nohup ignores SIGHUP, and what ignores it from the start goes on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[RunningMesh]:
    """A sound mesh that serves."""
    with run(tmp_path) as running:
        running.until("The mesh serves")
        yield running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_and_the_front_first(mesh: RunningMesh, number: signal.Signals) -> None:
    """It ends with status 0, in the order of falling rank, and nothing is left behind."""
    mesh.process.send_signal(number)
    status, said = mesh.finish()
    assert (status, "Stopped." in said) == (0, True)
    stopped = re.findall(r"stopped: (\w+)", (mesh.logs / "supervisor.log").read_text())
    assert stopped == ["front", "node", "store"]
    assert mesh.left_behind() == []


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    """A process that ignores being told to stop does not hold up someone in a hurry."""
    with run(tmp_path, "ignore") as mesh:
        mesh.until("The mesh serves")
        mesh.process.send_signal(signal.SIGINT)
        mesh.until("again to stop at once")
        mesh.process.send_signal(signal.SIGINT)
        mesh.finish()
        assert mesh.left_behind() == []


def test_a_node_that_dies_is_named_and_started_again(mesh: RunningMesh) -> None:
    """The mesh goes on without it until it is back."""
    first = mesh.pid("node")
    psutil.Process(first).kill()
    assert "node died" in mesh.until("died")
    assert "node is ready again" in mesh.until("again")
    assert mesh.pid("node") != first
    assert mesh.process.poll() is None


def test_a_node_that_never_gets_ready_ends_the_mesh(tmp_path: Path) -> None:
    """After three deaths its last words are shown, the status is 1, nothing is left behind."""
    with run(tmp_path, "die") as mesh:
        mesh.until("node died")
        status, said = mesh.finish()
        assert status == 1
        assert "the model is broken" in said
        assert "node died 3 times before it was ever ready." in said
        assert mesh.left_behind() == []


def test_a_setting_that_can_not_be_used_is_named_before_anything_starts(tmp_path: Path) -> None:
    """Rather than in the log of a process that never comes up."""
    with run(tmp_path, MESH_DRAIN="soon") as mesh:
        status, said = mesh.finish()
        assert status == 1
        assert said.startswith("MESH_DRAIN: ")
        assert said.endswith("(got 'soon')\n")
        assert "spawned" not in (tmp_path / "supervisor.log").read_text()


def test_the_end_of_the_front_ends_the_mesh(mesh: RunningMesh) -> None:
    """Without its gateway a mesh serves nobody, so that the command ends with status 1."""
    psutil.Process(mesh.pid("front")).kill()
    status, said = mesh.finish()
    assert (status, "The front ended." in said) == (1, True)
    assert mesh.left_behind() == []


def test_the_end_of_the_process_manager_ends_the_mesh(mesh: RunningMesh) -> None:
    """Processes that nobody watches any more are not left behind."""
    [manager] = psutil.Process(mesh.process.pid).children()
    manager.kill()
    status, said = mesh.finish()
    assert (status, "The process manager ended." in said) == (1, True)
    assert mesh.left_behind() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_killed_command_leaves_nothing_behind(mesh: RunningMesh) -> None:
    """Even where it had no chance to stop anything."""
    mesh.process.kill()
    assert mesh.left_behind() == []


def test_any_character_reaches_a_process_in_its_settings(mesh: RunningMesh) -> None:
    """Neither the configuration's syntax nor its expansions touch a value."""
    assert mesh.logged("node", "MESH_WORD: ") == [f"MESH_WORD: {WORD}"]
