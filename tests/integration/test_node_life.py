"""A node while it serves, and how it ends."""

import asyncio

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from mesh.v1 import encoder_pb2 as pb
from mesh.v1 import encoder_pb2_grpc
from tests.fake_models import PATIENCE, FakeEncoder
from tests.running_node import (
    RunningNode,
    encoder_load,
    running,
)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
REQUEST = pb.EncodeRequest(items=[pb.Item(text="hello", timeout=PATIENCE, request_id="item-7")])


class Unhurried:
    """A service whose one method never ends; keeps what grace it is given to close."""

    grpc_name = "tests.Unhurried"

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.graces: list[float] = []

    def register(self, server: grpc.aio.Server) -> None:
        """Add the method."""
        methods = {"Wait": grpc.unary_unary_rpc_method_handler(self._wait)}
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(self.grpc_name, methods),)
        )

    async def _wait(self, request: bytes, context: object) -> bytes:
        self.called.set()
        await asyncio.Event().wait()
        return request

    def start(self) -> None:
        """Nothing to do."""

    async def close(self, grace: float) -> None:
        """Keep the grace."""
        self.graces.append(grace)

    def info(self) -> dict[str, str]:
        """Nothing to tell."""
        return {}


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

    async def test_serving_and_closing_share_one_grace(self) -> None:
        """What gRPC waited for is no longer left to the service."""
        service = Unhurried()
        async with running(lambda settings, metrics: service, drain=0.5) as node:
            call = node.channel.unary_unary(f"/{service.grpc_name}/Wait")(b"")
            await service.called.wait()
            node.node.stop()
            await asyncio.wait_for(node.task, PATIENCE)
            assert service.graces == [0.0]
            with pytest.raises(grpc.aio.AioRpcError):
                await call
