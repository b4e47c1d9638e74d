"""What calls whose callers left leave behind: nothing."""

import asyncio
import ctypes
import gc

import pytest

from gateway.peer import Peer
from mesh.channels import open_channel
from mesh.v1 import encoder_pb2, encoder_pb2_grpc
from tests.integration.grpc_peers import MAX_BODY, EncoderPeer, Server, soon

AT_ONCE = 50
# What grpc.aio's own `cancel` loses each time is three times as much.
BYTES_A_CALL = 300


class Mallinfo2(ctypes.Structure):
    """What <malloc.h> calls so; `uordblks` are the bytes that are given out."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def allocated() -> int:
    gc.collect()
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Mallinfo2
    return int(mallinfo2().uordblks)


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc from 2.33 on tells"
)
async def test_calls_that_nobody_waits_for_lose_no_memory() -> None:
    """2,000 calls are left while they hang; afterwards there is as much memory as before."""
    async with Server(EncoderPeer()) as server:
        channel = open_channel(f"ipv4:127.0.0.1:{server.port}", MAX_BODY)
        peer, stub = Peer(channel, "it"), encoder_pb2_grpc.EncoderStub(channel)
        request = encoder_pb2.EncodeRequest(items=[encoder_pb2.Item(text="hang", timeout=9)])

        async def leave(times: int) -> None:
            for _ in range(times // AT_ONCE):
                server.peer.calls.clear()
                server.peer.metadata.clear()
                server.peer.timeouts.clear()
                calls = [
                    asyncio.ensure_future(peer.call(stub.Encode, request, soon()))
                    for _ in range(AT_ONCE)
                ]
                while len(server.peer.calls) < AT_ONCE:
                    await asyncio.sleep(0.002)
                for call in calls:
                    call.cancel()
                await asyncio.gather(*calls, return_exceptions=True)
            await asyncio.sleep(0.2)

        async with asyncio.timeout(60):
            await leave(500)
            before = allocated()
            await leave(2000)
            after = allocated()
        await peer.close()
    assert after - before < 2000 * BYTES_A_CALL
