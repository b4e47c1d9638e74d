"""Two gateways that share a real Redis: what both get at the same time is encoded once."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from gateway.metrics import GatewayMetrics
from gateway.store import Store
from mesh.embedding import Modality
from mesh.settings import GatewaySettings
from tests.redis_process import RedisProcess
from tests.unit.gateway.fakes import FakeMesh

# On a busy machine a look-up may take all the time that a request gives Redis; then nobody waits.
TRIES = 20


@pytest.fixture
async def gateways(redis: RedisProcess) -> AsyncIterator[list[FakeMesh]]:
    """Two pipelines over fakes, each with a memory of its own."""
    settings = GatewaySettings(redis_url=redis.url)
    stores = [Store.connect(settings, GatewayMetrics()) for _ in range(2)]
    meshes = [FakeMesh(store=store) for store in stores]
    for mesh in meshes:
        # Connected and warm, so that no look-up is late.
        await mesh.catalog.refresh()
        await mesh.classify(text=f"first {id(mesh)}")
        for encoder in mesh.encoders.values():
            encoder.encoded.clear()
    yield meshes
    for store in stores:
        await store.close()


async def ask_both(gateways: list[FakeMesh], seconds: float, text: str = "hi") -> None:
    """The same request to each, and encoders that take so long."""
    inputs = {name: text if name is Modality.TEXT else text.encode() for name in Modality}
    encoders = [encoder for mesh in gateways for encoder in mesh.encoders.values()]
    for encoder in encoders:
        encoder.gate.clear()
    asked = [asyncio.ensure_future(mesh.classify(**inputs)) for mesh in gateways]
    await asyncio.sleep(seconds)
    for encoder in encoders:
        encoder.gate.set()
    for answer in await asyncio.gather(*asked):
        assert not answer.degraded
        assert {answer.modalities[m].status for m in Modality} == {"computed"}


def encoded(gateways: list[FakeMesh]) -> int:
    """How many inputs were encoded, in all."""
    return sum(len(encoder.encoded) for mesh in gateways for encoder in mesh.encoders.values())


async def test_what_two_gateways_get_at_once_is_encoded_once(gateways: list[FakeMesh]) -> None:
    """Each of the three inputs, by either of them, and both answer in full."""
    for attempt in range(TRIES):
        before = encoded(gateways)
        await ask_both(gateways, 0.1, f"hi {attempt}")
        if encoded(gateways) - before == len(Modality):
            break
    else:
        raise AssertionError("each was encoded twice, or one of them, again and again")


async def test_redis_that_hangs_meanwhile_holds_nobody_up(
    redis: RedisProcess, gateways: list[FakeMesh]
) -> None:
    """Each gateway encodes for itself."""
    redis.signal(signal.SIGSTOP)
    await ask_both(gateways, 0.1)
    redis.signal(signal.SIGCONT)
    assert encoded(gateways) == 2 * len(Modality)
