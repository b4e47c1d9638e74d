"""A node as a process of its own: signals, exit codes, logs."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import grpc.aio
import pytest

from mesh.channels import open_channel
from mesh.v1 import encoder_pb2 as pb
from mesh.v1 import encoder_pb2_grpc
from tests import fake_artifacts
from tests.fake_models import PATIENCE
from tests.running_node import (
    NodeProcess,
    process,
)

REQUEST = pb.EncodeRequest(items=[pb.Item(text="hello", timeout=PATIENCE, request_id="item-7")])


class TestProcess:
    """The real thing, under signals."""

    async def test_a_node_that_can_not_become_ready_exits_with_1(self, tmp_path: Path) -> None:
        """After a line that says why."""
        fake_artifacts.write_encoder(tmp_path / "text", right=False)
        async with process("artifact", tmp_path) as node:
            assert "golden outputs" in (await node.until("failed"))["reason"]
            assert await node.end() == 1

    async def test_fusion_holds_every_artifact_that_it_is_given(self, tmp_path: Path) -> None:
        """MESH_MODEL is a list, preferred first."""
        for name in ("new", "old"):
            fake_artifacts.write_fusion(tmp_path / name / "fusion")
        async with process("fusion", tmp_path / "new", tmp_path / "old") as node:
            await node.until("ready")
            assert len(node.logged("golden_examples_hold")) == 2

    @pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
    async def test_a_signal_ends_it_in_order(self, sent: signal.Signals) -> None:
        """With exit code 0, having drained."""
        async with process("encoder") as node:
            await node.until("ready")
            node.process.send_signal(sent)
            assert await node.end() == 0
            assert [line["event"] for line in node.logs][-2:] == ["draining", "stopped"]

    @pytest.mark.skipif(sys.platform != "linux", reason="others have no such policy")
    async def test_its_threads_leave_the_core_to_one_that_computes(self) -> None:
        """A message does not interrupt a model, and models leave more of a core to the gateway."""
        async with process("encoder") as node:
            await node.until("ready")
            threads = map(int, os.listdir(f"/proc/{node.process.pid}/task"))
            assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}
            niceness = os.getpriority(os.PRIO_PROCESS, node.process.pid)
            assert niceness > os.getpriority(os.PRIO_PROCESS, 0)

    @pytest.mark.parametrize("text", ["stuck", "stuck model"])
    async def test_it_ends_although_a_thread_is_stuck(self, text: str) -> None:
        """After the grace, of which serving and closing share one; and it logs to the end."""
        request = pb.EncodeRequest(items=[pb.Item(text=text, timeout=PATIENCE)])
        async with process("stuck", MESH_DRAIN="0.3") as node:
            port = (await node.until("ready"))["grpc_port"]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                call = encoder_pb2_grpc.EncoderStub(channel).Encode(request)
                await node.until("stuck")
                node.process.send_signal(signal.SIGTERM)
                assert await node.end() == 0
                call.cancel()
            assert [line["event"] for line in node.logs][-2:] == ["draining", "stopped"]

    async def test_the_request_id_of_metadata_and_items_is_in_the_log(self) -> None:
        """And nothing of what the user sent."""
        request = pb.EncodeRequest(
            items=[
                pb.Item(text="secret words", timeout=9, request_id="item-1"),
                pb.Item(text="crash", timeout=9, request_id="item-2"),
            ]
        )
        async with process("encoder") as node:
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

    async def test_sigterm_under_load_loses_no_call_when_a_second_node_stands(self) -> None:
        """Clients see NOT_SERVING and go to the other one before the first refuses anything."""
        async with process("encoder") as one, process("encoder") as two:
            ports = [(await node.until("ready"))["grpc_port"] for node in (one, two)]
            targets = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
            async with open_channel(targets, 1024 * 1024) as channel:
                answered = await self._load_while_it_ends(channel, one)
        assert answered > 20
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
