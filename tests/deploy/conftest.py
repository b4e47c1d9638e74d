"""What the deployment's tests share: images built once, and one mesh in containers for the run.

They need Docker with Compose, and run by `make test-deploy` alone.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.stack import Stack, note
from tests.e2e.artifacts import write_turned_model
from tests.e2e.inputs import ROOT
from tests.e2e.mesh import MODEL, quiet_ports

HERE = Path(__file__).parent
# Seconds. The first test of a run waits for the images to be built.
TIMEOUT = 2400

_figures: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test here time for images and containers."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured."""
    if _figures:
        terminalreporter.section("measured")
        for line in _figures:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def figures() -> list[str]:
    """Lines for the summary of the run."""
    return _figures


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the default model and another one, legible to the containers' user."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / MODEL, folder / "emotion6")
    write_turned_model(ROOT / MODEL, folder / "turned")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture(scope="session")
def built(models: Path, figures: list[str]) -> Iterator[Stack]:
    """The images, and a project of them in which nothing runs yet."""
    stack = Stack(*quiet_ports(2), models)
    stack.down()  # What a run that was killed left behind.
    started = time.monotonic()
    stack.compose("build", "gateway", "text-encoder", "prometheus")
    note(figures, f"images: built in {time.monotonic() - started:.0f} s")
    yield stack
    stack.down()


@pytest.fixture(scope="session")
def _started(built: Stack, figures: list[str]) -> Stack:
    started = time.monotonic()
    built.up()
    note(figures, f"up: from nothing to healthy in {time.monotonic() - started:.1f} s")
    return built


@pytest.fixture(scope="module")
def stack(_started: Stack) -> Stack:
    """The mesh, one container of each service, healthy."""
    _started.up()
    return _started
