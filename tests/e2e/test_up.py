"""`sensemesh up` with the real processes and the default model, from its first line to its last."""

import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from cli.__main__ import main
from cli.machine import cores, physical_cores
from cli.topology import ENCODERS, NODES
from tests.running_mesh import RunningMesh
from tests.waiting import within

SAMPLES = Path(__file__).parents[2] / "samples"


class Up(RunningMesh):
    """The command, its mesh's address, and what it said of the sample."""

    def __init__(self, logs: Path) -> None:
        argv = [sys.executable, "-m", "cli", "up", "--port", "0", "--logs", str(logs)]
        # A first start on this machine, with all that there is to be found out.
        super().__init__(argv, logs, MESH_ENGINE_CACHE=str(logs / "cache"))
        self.sample = self.until("A bundled sample")
        found = re.search(r"http://\S+", self.until("The mesh serves"))
        assert found is not None
        self.url = found[0]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A mesh that serves."""
    with Up(tmp_path_factory.mktemp("logs")) as running:
        yield running


def predict(up: Up, *args: str) -> dict[str, Any]:
    """What `sensemesh predict` prints of this mesh's answer."""
    result = CliRunner().invoke(main, ["predict", "--url", up.url, "--json", *args])
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.output)
    return answer


def test_the_sample_is_joy(up: Up) -> None:
    """A smiling face, a glad voice and glad words, all of them classified."""
    assert " is joy, " in up.sample
    assert "degraded" not in up.sample


def test_predict_asks_it(up: Up) -> None:
    """The same files give the same class, and each says what it adds."""
    text = (SAMPLES / "text.txt").read_text(encoding="utf-8").strip()
    media = ["--image", str(SAMPLES / "smile.jpg"), "--audio", str(SAMPLES / "voice.wav")]
    answer = predict(up, "--text", text, *media, "--explain")
    assert answer["prediction"] == "joy"
    assert all(report["contribution"] is not None for report in answer["modalities"].values())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nodes are all as nice")
def test_the_slowest_encoder_gets_the_most_of_the_cores(up: Up) -> None:
    """Sounds take no less than pictures, and the gateway and fusion come before both."""
    names = ("gateway", "fusion", "audio-encoder", "vision-encoder")
    gateway, fusion, audio, vision = (psutil.Process(up.pid(name)).nice() for name in names)
    assert gateway < fusion <= audio <= vision


@pytest.mark.skipif(len(physical_cores()) < 2, reason="needs two cores that a process can have")
def test_encoders_that_compute_on_one_thread_are_at_home(up: Up) -> None:
    """On a core each, and not all on the same. With more threads they may run anywhere."""
    *encoders, fusion, redis, gateway = (
        set(psutil.Process(up.pid(name)).cpu_affinity() or ())
        for name in (*ENCODERS, "fusion", "redis", "gateway")
    )
    if cores() // len(NODES) > 1:  # Threads for each node.
        assert [len(anywhere) for anywhere in (*encoders, fusion)] == 4 * [cores()]
    else:
        assert all(home in map(set, physical_cores()) for home in (*encoders, fusion))
        assert set.intersection(*encoders) == set()
        assert fusion == redis == gateway


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells what is mapped")
def test_no_node_has_torch_in_memory_that_does_not_compute_by_it(up: Up) -> None:
    """Though it was a first start, at which all engines are tried; they took 1.1 GiB more."""
    for name in (*ENCODERS, "fusion"):
        holding = json.loads(up.logged(name, "golden_examples_hold")[-1])
        maps = Path(f"/proc/{up.pid(name)}/maps").read_text()
        assert ("libtorch" in maps) == (holding["engine"] == "torch"), name


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nodes are no forks")
def test_nodes_and_gateway_share_what_they_have_loaded(up: Up) -> None:
    """Processes that were started anew would have no page in common but those of files."""
    assert "not loaded ahead" not in (up.logs / "supervisor.log").read_text()
    for name in (*NODES, "gateway"):
        rollup = Path(f"/proc/{up.pid(name)}/smaps_rollup").read_text()
        [kib] = re.findall(r"Shared_Dirty: +(\d+) kB", rollup)
        assert int(kib) > 10 * 1024, name


def homes(process: psutil.Process) -> list[int]:
    """The processors on which its first thread may run; all, where the system has no such limit."""
    found: list[int] = process.cpu_affinity() if hasattr(process, "cpu_affinity") else []
    return found


def test_its_port_is_refused_to_another(up: Up) -> None:
    """The second one ends at once, and names the port."""
    port = up.url.rpartition(":")[2]
    result = CliRunner().invoke(main, ["up", "--port", port])
    assert (result.exit_code, f"port {port}" in result.output) == (1, True)


def test_it_serves_while_a_killed_encoder_comes_back(up: Up) -> None:
    """The mesh answers meanwhile; then the encoder is ready again, and used.

    A call that finds nobody waits a moment for another replica: it may just be long enough.
    """
    psutil.Process(up.pid("text-encoder")).kill()
    assert "text-encoder died" in up.until("died")
    words = ["--text", "What a surprise", "--image", str(SAMPLES / "smile.jpg")]
    assert predict(up, *words)["modalities"]["text"]["status"] in ("failed", "computed")
    up.until("text-encoder is ready again")
    within(10, lambda: not predict(up, *words)["degraded"], lambda: "it stays degraded")
    back, other = (psutil.Process(up.pid(name)) for name in ("text-encoder", "vision-encoder"))
    within(5, lambda: len(homes(back)) == len(homes(other)), lambda: "it did not get a home again")


def test_ctrl_c_stops_all_of_it(up: Up) -> None:
    """The gateway first, Redis last, with status 0, and nothing is left behind."""
    up.process.send_signal(signal.SIGINT)
    status, said = up.finish()
    assert (status, "Stopped." in said) == (0, True)
    stopped = re.findall(r"stopped: ([\w-]+)", (up.logs / "supervisor.log").read_text())
    assert (stopped[0], stopped[-1]) == ("gateway", "redis")
    assert len(stopped) == 6
    assert up.left_behind() == []
