"""What the end-to-end tests share: the nodes of the whole run, and a mesh for each module."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.mesh import Mesh, Nodes

HERE = Path(__file__).parent
# A first test waits for every process of its module to start.
TIMEOUT = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test here time for processes to start; it is called with those elsewhere, too."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT))


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """The nodes of this run; they start when a mesh asks for them."""
    nodes = Nodes(tmp_path_factory.mktemp("nodes"))
    yield nodes
    nodes.close()


MakeMesh = Callable[..., Mesh]


@pytest.fixture(scope="module")
def make_mesh(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeMesh]:
    """Starts meshes that end with the module: make_mesh(replicas, gateways=1, **settings)."""
    with ExitStack() as meshes:

        def make(replicas: int = 1, gateways: int = 1, **settings: str) -> Mesh:
            folder = tmp_path_factory.mktemp("mesh")
            mesh = Mesh(folder, nodes.require(replicas), gateways, settings)
            return meshes.enter_context(mesh)

        yield make


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Mesh:
    """One of each process, with the default settings."""
    return make_mesh()
