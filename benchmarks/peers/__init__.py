"""Other servers over the same model, each written as its own documentation would have it."""

import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.bodies import JSON, MSGPACK, MULTIPART, Form
from benchmarks.processes import BenchError, Command, last_words, running

HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Peer:
    """A server in a folder beside this file; `argv` gives its command, of its bin folder and port.

    `path` is where it answers, `form` what bodies it takes; one that is `restless` looks for work
    time and again, which others would feel.
    """

    name: str
    folder: str
    argv: Callable[[Path, int], Sequence[str]]
    form: Form = MULTIPART
    path: str = "/predict"
    restless: bool = False


def _gunicorn(bin: Path, port: int) -> Sequence[str]:
    return (str(bin / "gunicorn"), "--bind", f"127.0.0.1:{port}", "server:app")


def _bentoml(bin: Path, port: int) -> Sequence[str]:
    where = ("--host", "127.0.0.1", "--port", str(port))
    return (str(bin / "bentoml"), "serve", "service:Classifier", *where)


def _script(bin: Path, port: int) -> Sequence[str]:
    return (str(bin / "python"), "server.py", str(port))


def _mosec(bin: Path, port: int) -> Sequence[str]:
    where = ("--address", "127.0.0.1", "--port", str(port), "--timeout", "60000")
    return (str(bin / "python"), "server.py", *where)


PEERS: Final = (
    Peer("Flask", "flask", _gunicorn),
    Peer("LitServe", "litserve", _script, form=JSON),
    Peer("BentoML", "bentoml", _bentoml),
    Peer("Ray Serve", "ray", _script),
    Peer("Mosec", "mosec", _mosec, form=MSGPACK, path="/inference"),
)
# Two of them again, given the mesh's engine, a worker on each core, and dynamic batches.
TUNED: Final = (
    Peer("Mosec, tuned", "mosec", _mosec, form=MSGPACK, path="/inference"),
    # Without a request it takes a quarter of a core.
    Peer("LitServe, tuned", "litserve", _script, form=JSON, restless=True),
)


def install(peer: Peer, environments: Path) -> Path:
    """Make the peer's environment unless it is there; its bin folder. BenchError where it can't be.

    Its packages come before those of this environment, on which it stands: so all serve the model
    by the same libraries.
    """
    folder = environments / peer.folder
    pins = HERE / peer.folder / "requirements.txt"
    installed = folder / "installed.txt"
    if not installed.exists() or installed.read_text() != pins.read_text():
        python = str(folder / "bin/python")
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder)
        _stand_on_ours(folder)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
        _run([*pip, "install", "--requirement", str(pins)], folder)
        installed.write_text(pins.read_text())
    return folder / "bin"


def _stand_on_ours(folder: Path) -> None:
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "sensemesh.pth").write_text(sysconfig.get_path("purelib") + "\n")


def _run(argv: Sequence[str], folder: Path) -> None:
    log = folder.with_suffix(".log")
    with running(Command(argv, log)) as process:
        if process.wait() != 0:
            raise BenchError(f"{folder.name} could not be installed:\n{last_words(log)}")
