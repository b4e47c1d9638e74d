"""Overload, deadlines and cancellation of mesh.v1.Encoder over a real port."""

import asyncio
from contextlib import suppress

import grpc

from mesh.v1 import encoder_pb2 as pb
from tests.fake_models import FakeEncoder
from tests.running_node import RunningNode, codes, encode, encoder_load, item, running


class TestDrops:
    """What the model never sees."""

    async def test_a_caller_that_cancels_is_dropped_before_the_model_and_counted(
        self, node: RunningNode, encoder: FakeEncoder
    ) -> None:
        """While it waits in the queue."""
        encoder.gate.shut()
        first = asyncio.create_task(encode(node, item("first")))
        await encoder.gate.arrival()
        gone = asyncio.create_task(encode(node, item("gone")))
        for _ in range(2):
            await encoder.preprocess_gate.arrival()
        gone.cancel()
        assert await node.next_drop() == "cancelled"
        encoder.gate.open()
        assert codes(await first) == ["OK"]
        assert encoder.batches == [["first"]]
        assert node.metric("mesh_items_dropped_total", reason="cancelled") == 1

    async def test_a_caller_that_cancels_during_preprocessing_never_reaches_the_queue(
        self, node: RunningNode, encoder: FakeEncoder
    ) -> None:
        """What its thread computes is thrown away."""
        encoder.preprocess_gate.shut()
        gone = asyncio.create_task(encode(node, item("gone")))
        await encoder.preprocess_gate.arrival()
        gone.cancel()
        assert await node.next_drop() == "cancelled"
        encoder.preprocess_gate.open()
        assert codes(await encode(node, item("next"))) == ["OK"]
        assert encoder.batches == [["next"]]

    async def test_an_item_whose_time_is_over_in_the_queue_is_dropped_and_its_neighbour_stays(
        self, node: RunningNode, encoder: FakeEncoder
    ) -> None:
        """The call is answered when the longer one is done."""
        encoder.gate.shut()
        first = asyncio.create_task(encode(node, item("first")))
        await encoder.gate.arrival()
        second = asyncio.create_task(encode(node, item("late", timeout=0.05), item("patient")))
        assert await node.next_drop() == "expired"
        encoder.gate.open()
        assert codes(await first) == ["OK"]
        assert codes(await second) == ["CODE_EXPIRED", "OK"]
        assert encoder.batches == [["first"], ["patient"]]

    async def test_the_deadline_of_the_call_ends_its_items(
        self, node: RunningNode, encoder: FakeEncoder
    ) -> None:
        """However long they would wait themselves."""
        encoder.gate.shut()
        first = asyncio.create_task(encode(node, item("first")))
        await encoder.gate.arrival()
        # Whether the node's answer or the client's own clock is first, nobody can tell.
        with suppress(grpc.aio.AioRpcError):
            assert codes(await encode(node, item("late"), seconds=0.05)) == ["CODE_EXPIRED"]
        assert await node.next_drop() in ("expired", "cancelled")
        encoder.gate.open()
        await first
        assert encoder.batches == [["first"]]

    async def test_an_item_may_not_wait_longer_than_the_longest_timeout(
        self, encoder: FakeEncoder
    ) -> None:
        """MESH_TIMEOUT_MAX bounds what a caller asks for."""
        async with running(encoder_load(encoder), timeout_max=0.05) as node:
            encoder.gate.shut()
            first = asyncio.create_task(encode(node, item("first")))
            await encoder.gate.arrival()
            assert codes(await encode(node, item("late"))) == ["CODE_EXPIRED"]
            encoder.gate.open()
            await first

    async def test_overload_refuses_items_that_find_no_place(self, encoder: FakeEncoder) -> None:
        """Item by item and at once; those that have a place are served."""
        async with running(encoder_load(encoder), max_queue=2) as node:
            encoder.gate.shut()
            held = asyncio.create_task(encode(node, item("a"), item("b"), item("c")))
            await encoder.gate.arrival()
            assert codes(await encode(node, item("d"))) == ["CODE_OVERLOADED"]
            encoder.gate.open()
            assert codes(await held) == ["OK", "OK", "CODE_OVERLOADED"]
            assert node.metric("mesh_items_dropped_total", reason="overloaded") == 2

    async def test_overload_refuses_calls_over_the_bytes_in_flight(
        self, encoder: FakeEncoder
    ) -> None:
        """But a call alone is taken however large it is, since nothing smaller would help it."""
        async with running(encoder_load(encoder), max_in_flight_bytes=10) as node:
            encoder.gate.shut()
            held = asyncio.create_task(encode(node, item("more than ten bytes")))
            await encoder.gate.arrival()
            assert codes(await encode(node, item("d"), item("e"))) == ["CODE_OVERLOADED"] * 2
            encoder.gate.open()
            assert codes(await held) == ["OK"]
            assert codes(await encode(node, item("again"))) == ["OK"]

    async def test_what_an_encoder_does_not_read_counts_as_well(self, encoder: FakeEncoder) -> None:
        """It is in memory until its call is answered."""
        async with running(encoder_load(encoder), max_in_flight_bytes=100) as node:
            encoder.gate.shut()
            media = pb.Item(media=b"x" * 100, timeout=60)
            held = asyncio.create_task(encode(node, item("text"), media))
            await encoder.gate.arrival()
            assert codes(await encode(node, item("d"))) == ["CODE_OVERLOADED"]
            encoder.gate.open()
            assert codes(await held) == ["OK", "CODE_INVALID"]
