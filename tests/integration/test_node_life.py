"""A node from start to end: in this process where a test must look in, else as one of its own."""

import asyncio
import signal
import socket
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from mesh.channels import open_channel
from mesh.loading import load_encoder, load_fusion
from mesh.node import Node, Service
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics
from mesh.v1 import encoder_pb2 as pb
from mesh.v1 import encoder_pb2_grpc
from tests import fake_artifacts
from tests.fake_models import PATIENCE, FakeEncoder
from tests.running_node import (
    NodeProcess,
    RunningNode,
    encoder_load,
    process,
    running,
    settings_of,
)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
REQUEST = pb.EncodeRequest(items=[pb.Item(text="hello", timeout=PATIENCE, request_id="item-7")])


@pytest.fixture
def encoder() -> FakeEncoder:
    """The model behind the node."""
    return FakeEncoder()


@pytest.fixture
async def node(encoder: FakeEncoder) -> AsyncIterator[RunningNode]:
    """A node of the fake encoder."""
    async with running(encoder_load(encoder)) as started:
        yield started
        encoder.gate.open()


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


class TestReady:
    """While it serves."""

    async def test_health_is_serving_for_the_node_and_for_its_service(
        self, node: RunningNode
    ) -> None:
        """And unknown for another name."""
        stub = health_pb2_grpc.HealthStub(node.channel)
        for name in ("", "mesh.v1.Encoder"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="mesh.v1.Fusion"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    async def test_reflection_lists_the_services(self, node: RunningNode) -> None:
        """So that grpcurl needs no proto files."""
        stub = reflection_pb2_grpc.ServerReflectionStub(node.channel)
        requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        answers = [answer async for answer in stub.ServerReflectionInfo(requests)]
        names = {service.name for service in answers[0].list_services_response.service}
        assert names == {
            "mesh.v1.Encoder",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }

    async def test_info_tells_what_the_node_serves_and_on_what(self, node: RunningNode) -> None:
        """For people."""
        info = (await node.ops.get("/info")).json()
        expected = {
            "state": "ready",
            "modality": "text",
            "dim": 3,
            "limits": {"characters": 100},
            "engine": "auto",
            "dtype": "auto",
            "devices": "cpu",
        }
        assert expected.items() <= info.items()

    async def test_metrics_tell_of_calls_items_batches_and_memory(self, node: RunningNode) -> None:
        """In Prometheus's format."""
        await encoder_pb2_grpc.EncoderStub(node.channel).Encode(REQUEST)
        lines = (await node.ops.get("/metrics")).text.splitlines()
        assert "mesh_encode_calls_total 1.0" in lines
        assert 'mesh_items_total{outcome="OK"} 1.0' in lines
        assert "mesh_batch_items_count 1.0" in lines
        assert "mesh_queue_wait_seconds_count 1.0" in lines
        assert "mesh_engine_seconds_count 1.0" in lines
        assert any(line.startswith("process_resident_memory_bytes") for line in lines)


class TestEnd:
    """Told to stop."""

    async def test_it_tells_that_it_is_leaving_and_serves_on_meanwhile(
        self, encoder: FakeEncoder
    ) -> None:
        """Not ready and NOT_SERVING, and yet calls are answered: clients need time to go away."""
        async with running(encoder_load(encoder), drain_delay=1.0) as node:
            watch = health_pb2_grpc.HealthStub(node.channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == SERVING
            node.node.stop()
            assert (await watch.read()).status == NOT_SERVING
            ready = await node.ops.get("/readyz")
            assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
            answer = await encoder_pb2_grpc.EncoderStub(node.channel).Encode(REQUEST)
            assert answer.results[0].HasField("embedding")

    async def test_it_waits_for_the_calls_in_flight(
        self, node: RunningNode, encoder: FakeEncoder
    ) -> None:
        """They are answered, not cut."""
        encoder.gate.shut()
        stub = encoder_pb2_grpc.EncoderStub(node.channel)
        call = asyncio.create_task(asyncio.wait_for(stub.Encode(REQUEST), PATIENCE))
        await encoder.gate.arrival()
        node.node.stop()
        encoder.gate.open()
        assert (await call).results[0].HasField("embedding")
        await node.task
        assert node.node.state == "stopped"

    async def test_it_does_not_wait_longer_than_the_grace(self, encoder: FakeEncoder) -> None:
        """A call that never ends is cut, and the node ends."""
        async with running(encoder_load(encoder), drain=0.1) as node:
            encoder.gate.shut()
            call = encoder_pb2_grpc.EncoderStub(node.channel).Encode(REQUEST)
            await encoder.gate.arrival()
            node.node.stop()
            await asyncio.wait_for(node.task, PATIENCE)
            with pytest.raises(grpc.aio.AioRpcError):
                await call
            encoder.gate.open()


class TestProcess:
    """The real thing, under signals."""

    async def test_a_node_that_can_not_become_ready_exits_with_1(self, tmp_path: Path) -> None:
        """After a line that says why."""
        fake_artifacts.write_encoder(tmp_path / "text", right=False)
        async with process("encoder", [tmp_path]) as node:
            assert "golden outputs" in (await node.until("failed"))["reason"]
            assert await node.end() == 1

    async def test_fusion_holds_every_artifact_that_it_is_given(self, tmp_path: Path) -> None:
        """MESH_MODEL is a list, preferred first."""
        for name in ("new", "old"):
            fake_artifacts.write_fusion(tmp_path / name / "fusion")
        async with process("fusion", [tmp_path / "new", tmp_path / "old"]) as node:
            await node.until("ready")
            assert len(node.logged("golden_examples_hold")) == 2

    @pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
    async def test_a_signal_ends_it_in_order(self, tmp_path: Path, sent: signal.Signals) -> None:
        """With exit code 0, having drained."""
        fake_artifacts.write_encoder(tmp_path / "text")
        async with process("encoder", [tmp_path]) as node:
            await node.until("ready")
            node.process.send_signal(sent)
            assert await node.end() == 0
            assert [line["event"] for line in node.logs][-2:] == ["draining", "stopped"]

    async def test_the_request_id_of_metadata_and_items_is_in_the_log(self, tmp_path: Path) -> None:
        """And nothing of what the user sent."""
        fake_artifacts.write_encoder(tmp_path / "text")
        request = pb.EncodeRequest(
            items=[
                pb.Item(text="secret words", timeout=9, request_id="item-1"),
                pb.Item(text="crash", timeout=9, request_id="item-2"),
            ]
        )
        async with process("encoder", [tmp_path]) as node:
            port = (await node.until("ready"))["grpc_port"]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = encoder_pb2_grpc.EncoderStub(channel)
                await stub.Encode(request, metadata=[("x-request-id", "call-1")])
            encoded = await node.until("encoded")
            [crash] = node.logged("preprocessing_failed")
        assert encoded["request_id"] == "call-1"
        assert encoded["request_ids"] == ["item-1", "item-2"]
        assert crash["request_id"] == "item-2"
        assert not any(word in str(node.logs) for word in ("secret", "'crash'"))

    async def test_sigterm_under_load_loses_no_call_when_a_second_node_stands(
        self, tmp_path: Path
    ) -> None:
        """Clients see NOT_SERVING and go to the other one before the first refuses anything."""
        fake_artifacts.write_encoder(tmp_path / "text")
        async with process("encoder", [tmp_path]) as one, process("encoder", [tmp_path]) as two:
            ports = [(await node.until("ready"))["grpc_port"] for node in (one, two)]
            targets = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
            async with open_channel(targets, 1024 * 1024) as channel:
                answered = await self._load_while_it_ends(channel, one)
        assert answered > 100
        assert 0 < len(one.logged("encoded")) < answered

    async def _load_while_it_ends(self, channel: grpc.aio.Channel, node: NodeProcess) -> int:
        """Call without a pause, end the node meanwhile, and count the calls that were answered."""
        stub, ended, answered = encoder_pb2_grpc.EncoderStub(channel), asyncio.Event(), 0

        async def call_on() -> None:
            nonlocal answered
            while not ended.is_set():
                result = await stub.Encode(REQUEST, timeout=PATIENCE)
                assert result.results[0].HasField("embedding")
                answered += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(call_on())
            await node.until("encoded")
            node.process.send_signal(signal.SIGTERM)
            assert await node.end() == 0
            ended.set()
        return answered
