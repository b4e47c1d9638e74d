"""Several gateways over one store: an input that they get at the same time is encoded once."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gateway import turns as module
from gateway.cache import Cache, claim_key, embedding_key, pack
from gateway.contract import Prediction
from gateway.digests import digest_of
from gateway.embedder import Asked, left_open
from gateway.metrics import GatewayMetrics
from gateway.turns import Sought, Turns
from mesh.embedding import Embedding
from mesh.errors import Overloaded
from tests.unit.gateway.fakes import TEXT, FakeMesh, FakeStore, embedding, head

DIGEST = digest_of("hi")
OTHERS_CLAIM = {claim_key(TEXT, DIGEST): b"another gateway"}


class Encode:
    """Counts how often it is asked, and fails where told."""

    def __init__(self, version: str = "v1") -> None:
        self.asked = 0
        self.version = version
        self.error: Exception | None = None

    async def __call__(self) -> Embedding:
        self.asked += 1
        if self.error:
            raise self.error
        return embedding(TEXT, self.version)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def encode() -> Encode:
    return Encode()


def open_turns(store: FakeStore, *, shared: bool = True) -> Turns:
    return Turns(Cache(store, GatewayMetrics()), store, shared=shared)


def sought(*versions: str, looked: float = 0.0, seconds: float = 5.0) -> Sought:
    """As of now, or of so many seconds ago."""
    now = asyncio.get_running_loop().time()
    return Sought(TEXT, DIGEST, versions or ("v1",), now - looked, now + seconds)


async def leave(store: FakeStore, version: str = "v1") -> None:
    """As a gateway that is done, a little later."""
    await asyncio.sleep(0.01)
    store.put(entry(version))
    store.claims.clear()


def entry(version: str) -> dict[str, bytes]:
    return {embedding_key(TEXT, version, DIGEST): pack(embedding(TEXT, version))}


async def test_two_gateways_encode_an_input_once(store: FakeStore) -> None:
    """Both answer, and one encoder was asked; nobody holds anything afterwards."""
    meshes: Sequence[FakeMesh] = [FakeMesh(store=store) for _ in range(2)]
    for mesh in meshes:
        mesh.encoders[TEXT].gate.clear()
        await mesh.catalog.refresh()

    async def finish() -> None:
        await asyncio.sleep(0.05)
        for mesh in meshes:
            mesh.encoders[TEXT].gate.set()

    answers: list[Prediction | None] = await asyncio.gather(
        *(mesh.classify(text="hi") for mesh in meshes), finish()
    )
    assert [answer.modalities[TEXT].status for answer in answers if answer] == 2 * ["computed"]
    assert sum(len(mesh.encoders[TEXT].encoded) for mesh in meshes) == 1
    assert store.claims == {}


async def test_who_comes_first_encodes_and_leaves_it(store: FakeStore, encode: Encode) -> None:
    """The claim is over when the embedding is there."""
    assert await open_turns(store).take(sought(), encode) == embedding(TEXT)
    assert (store.entries, store.claims) == (entry("v1"), {})


async def test_who_comes_later_waits(store: FakeStore, encode: Encode) -> None:
    """And encodes nothing."""
    store.claims |= OTHERS_CLAIM
    found, _ = await asyncio.gather(open_turns(store).take(sought(), encode), leave(store))
    assert (found, encode.asked) == (embedding(TEXT), 0)


async def test_a_version_that_nobody_wants_is_not_taken(store: FakeStore, encode: Encode) -> None:
    """Where the other left one of another version, one's own encoder is asked."""
    store.claims |= OTHERS_CLAIM
    await asyncio.gather(open_turns(store).take(sought("v2"), encode), leave(store, "v1"))
    assert encode.asked == 1


async def test_who_fails_lets_the_next_one_try(store: FakeStore, encode: Encode) -> None:
    """Each gets its own error, not another's."""
    encode.error = Overloaded("full")
    with pytest.raises(Overloaded):
        await open_turns(store).take(sought(), encode)
    assert (store.entries, store.claims) == ({}, {})


async def test_who_leaves_lets_the_next_one_try(store: FakeStore) -> None:
    """Cancelling ends the claim, too."""
    task = asyncio.ensure_future(open_turns(store).take(sought(), asyncio.Event().wait))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert store.claims
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert store.claims == {}


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_claim_of_which_redis_said_nothing_is_ended_all_the_same(
    store: FakeStore, encode: Encode, monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    """Whether its caller leaves meanwhile, or encodes without an answer."""
    answer = asyncio.Event()
    claim = store.claim

    async def claim_in_silence(*asked: Any) -> None:
        await claim(*asked)
        await answer.wait()

    monkeypatch.setattr(store, "claim", claim_in_silence)
    task = asyncio.ensure_future(open_turns(store).take(sought(), encode))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert store.claims
    if leaves:
        task.cancel()
    answer.set()
    await asyncio.gather(task, return_exceptions=True)
    assert store.claims == {}


async def test_one_of_those_who_wait_follows(store: FakeStore, encode: Encode) -> None:
    """Where the first one left nothing behind, one more encodes, and the rest wait for that."""
    store.claims |= OTHERS_CLAIM

    async def fail() -> None:
        await asyncio.sleep(0.01)
        store.claims.clear()

    turns = [open_turns(store) for _ in range(4)]
    found = await asyncio.gather(*(turn.take(sought(), encode) for turn in turns), fail())
    assert found[:4] == 4 * [embedding(TEXT)]
    assert encode.asked == 1


async def test_a_claim_that_is_never_ended_is_waited_for_within_bounds(
    store: FakeStore, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the input is encoded here, and the other's claim is left alone."""
    monkeypatch.setattr(module, "CLAIM_SECONDS", 0.05)
    store.claims |= OTHERS_CLAIM
    assert await open_turns(store).take(sought(), encode) == embedding(TEXT)
    assert store.claims == OTHERS_CLAIM


async def test_waiting_leaves_time_to_encode(store: FakeStore, encode: Encode) -> None:
    """However little time there is, half of it is left."""
    store.claims |= OTHERS_CLAIM
    asked = sought(seconds=0.2)
    await open_turns(store).take(asked, encode)
    assert encode.asked == 1
    assert asyncio.get_running_loop().time() < asked.deadline


async def test_redis_that_does_not_answer_is_not_waited_for(
    store: FakeStore, encode: Encode
) -> None:
    """Neither for a claim, nor for what another would leave."""
    store.answers = False
    await open_turns(store).take(sought(), encode)
    store.answers, store.entries, store.claims = True, {}, dict(OTHERS_CLAIM)

    async def stop() -> None:
        await asyncio.sleep(0.01)
        store.answers = False

    await asyncio.gather(open_turns(store).take(sought(), encode), stop())
    assert encode.asked == 2


@pytest.mark.parametrize(
    ("versions", "looked", "shared"),
    [
        pytest.param(("v1",), 0.0, False, id="no other gateway"),
        pytest.param((), 0.0, True, id="no version to wait for"),
        pytest.param(("v1",), 1.0, True, id="the look-up took all the time there is for Redis"),
    ],
)
async def test_no_claim_is_made_in_vain(
    store: FakeStore, encode: Encode, versions: tuple[str, ...], looked: float, shared: bool
) -> None:
    """The input is encoded at once, whoever else may be at it."""
    store.claims |= OTHERS_CLAIM
    now = asyncio.get_running_loop().time()
    asked = Sought(TEXT, DIGEST, versions, now - looked, now + 60)
    await open_turns(store, shared=shared).take(asked, encode)
    assert (encode.asked, store.claims) == (1, OTHERS_CLAIM)


def test_what_was_seen_in_the_cache_is_not_waited_for() -> None:
    """During a roll-out an old version's embedding may be there; it is known not to fit."""
    heads = [head("new", text="v2"), head("old")]
    seen = {embedding_key(TEXT, "v1", DIGEST)}
    asked = Asked(FakeMesh().request(text="hi"), 0, 0, heads)
    assert left_open(replace(asked, seen=seen), TEXT) == ["v2"]
    assert left_open(asked, TEXT) == ["v2", "v1"]
