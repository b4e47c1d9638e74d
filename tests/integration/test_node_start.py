"""A node on its way to ready, and what keeps it from there."""

import asyncio
import socket
import threading
from functools import partial
from pathlib import Path

import httpx
import pytest

from mesh.loading import load_encoder, load_fusion
from mesh.node import Node, Service
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics
from tests import fake_artifacts
from tests.fake_models import PATIENCE, FakeEncoder
from tests.running_node import (
    RunningNode,
    encoder_load,
    settings_of,
)


@pytest.fixture
def taken() -> int:
    """A port that another process might have."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


async def failure(node: Node, capsys: pytest.CaptureFixture[str]) -> str:
    """What a node that can't become ready says before it ends."""
    await asyncio.wait_for(node.run(), PATIENCE)
    assert node.state == "failed"
    assert not node.ready.is_set()
    return capsys.readouterr().out


class TestStart:
    """On the way to ready."""

    async def test_the_ops_port_answers_while_the_model_loads(self, encoder: FakeEncoder) -> None:
        """Alive but not ready; and then ready."""
        loaded = threading.Event()
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def load(settings: NodeSettings, metrics: NodeMetrics) -> Service:
            port.get_loop().call_soon_threadsafe(port.set_result, node.info["ops_port"])
            assert loaded.wait(PATIENCE)
            return encoder_load(encoder)(settings, metrics)

        node = Node(settings_of(), load)
        life = asyncio.create_task(node.run())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{await port}") as ops:
            assert (await ops.get("/healthz")).status_code == 200
            early = await ops.get("/readyz")
            loaded.set()
            await node.ready.wait()
            late = await ops.get("/readyz")
        assert (early.status_code, early.json()) == (503, {"status": "loading"})
        assert (late.status_code, late.json()) == (200, {"status": "ready"})
        node.stop()
        await life

    async def test_a_node_that_is_told_to_stop_while_it_loads_never_serves(
        self, encoder: FakeEncoder
    ) -> None:
        """It ends as soon as the load does."""

        def load(settings: NodeSettings, metrics: NodeMetrics) -> Service:
            loop.call_soon_threadsafe(node.stop)
            return encoder_load(encoder)(settings, metrics)

        loop = asyncio.get_running_loop()
        node = Node(settings_of(), load)
        await asyncio.wait_for(node.run(), PATIENCE)
        assert node.state == "stopped"
        assert not node.ready.is_set()

    async def test_a_taken_grpc_port_is_an_error_that_names_it(
        self, encoder: FakeEncoder, taken: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Rather than a share of the other's calls."""
        node = Node(settings_of(grpc_port=taken), encoder_load(encoder))
        assert f"MESH_GRPC_PORT: can't listen on 127.0.0.1:{taken}" in await failure(node, capsys)

    async def test_two_nodes_can_not_share_a_grpc_port(
        self, node: RunningNode, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Although gRPC would let them."""
        port = node.node.info["grpc_port"]
        second = Node(settings_of(grpc_port=port), encoder_load(FakeEncoder()))
        assert f"127.0.0.1:{port}" in await failure(second, capsys)

    async def test_a_taken_ops_port_is_an_error_that_names_it(
        self, encoder: FakeEncoder, taken: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Before anything is loaded."""
        node = Node(settings_of(ops_port=taken), encoder_load(encoder))
        assert f"MESH_OPS_PORT: can't listen on 127.0.0.1:{taken}" in await failure(node, capsys)

    async def test_an_encoder_that_computes_something_else_never_becomes_ready(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Its golden examples differ."""
        fake_artifacts.write_encoder(tmp_path / "text", right=False)
        load = partial(load_encoder, folder="text", load=fake_artifacts.load_encoder)
        node = Node(settings_of(model=str(tmp_path)), load)
        assert "golden outputs" in await failure(node, capsys)

    async def test_a_head_that_gives_another_class_never_becomes_ready(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Even where the probabilities are near."""
        fake_artifacts.write_fusion(tmp_path / "fusion", right=False)
        load = partial(load_fusion, load=fake_artifacts.load_classifier)
        node = Node(settings_of(model=str(tmp_path)), load)
        assert "another class" in await failure(node, capsys)

    async def test_an_artifact_that_does_not_exist_is_an_error_that_names_it(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """By its path."""
        load = partial(load_encoder, folder="text", load=fake_artifacts.load_encoder)
        node = Node(settings_of(model=str(tmp_path / "missing")), load)
        assert "missing/text holds no readable config.json" in await failure(node, capsys)
