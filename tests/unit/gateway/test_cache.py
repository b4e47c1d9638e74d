"""The cache: keys by content and version, and only what fits together comes back."""

import math
import struct
from dataclasses import replace

import pytest

from gateway import cache as caching
from gateway.cache import Cache, Result, embedding_key, result_key, unpack_result
from gateway.clients import Scores
from gateway.metrics import GatewayMetrics
from mesh.embedding import ITEM_BYTES
from tests.unit.gateway.fakes import AUDIO, IMAGE, TEXT, FakeStore, embedding, head

DIGESTS = {TEXT: "t", IMAGE: "i", AUDIO: "a"}
SCORES = Scores("fake", "f1", {"anger": 0.2, "joy": 0.7, "neutral": 0.1})


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def cache(store: FakeStore, metrics: GatewayMetrics) -> Cache:
    return Cache(store, metrics)


def test_keys_tell_modality_version_and_content_apart() -> None:
    """No two of these may ever be taken for each other."""
    keys = {
        embedding_key(modality, version, digest)
        for modality in (TEXT, IMAGE)
        for version in ("v1", "v2")
        for digest in ("x", "y")
    }
    assert len(keys) == 8


def test_result_keys_depend_on_what_was_sent_not_on_its_order() -> None:
    """The same inputs in another order are the same request; fewer inputs are not."""
    assert result_key("f", {TEXT: "t", IMAGE: "i"}) == result_key("f", {IMAGE: "i", TEXT: "t"})
    assert result_key("f", {TEXT: "t", IMAGE: "i"}) != result_key("f", {TEXT: "t"})
    assert result_key("f", {TEXT: "x"}) != result_key("f", {IMAGE: "x"})
    assert result_key("f", DIGESTS) != result_key("g", DIGESTS)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
async def test_embeddings_come_back_as_they_were_kept(cache: Cache, dtype: str) -> None:
    """Also the mark that the encoder had cut the input."""
    whole = embedding(TEXT, truncated=True)
    kept = {TEXT: replace(whole, dtype=dtype, data=whole.data[: whole.dim * ITEM_BYTES[dtype]])}
    cache.keep_embeddings(DIGESTS, kept)
    found = await cache.look_up([head()], DIGESTS)
    assert found.embeddings == kept
    assert found.result is None


async def test_a_result_comes_back_as_it_was_kept(cache: Cache) -> None:
    """The scores in the order of the labels, and what was truncated."""
    result = Result(SCORES, frozenset({TEXT}))
    cache.keep_result(head("f1"), DIGESTS, result)
    found = await cache.look_up([head("f1")], DIGESTS)
    assert found.result == result
    assert list(found.result.scores.probabilities) == ["anger", "joy", "neutral"]


def test_a_result_is_kept_by_its_labels_whatever_their_order(cache: Cache) -> None:
    """Fusion's answer may have another one than its description."""
    backwards = replace(SCORES, probabilities=dict(reversed(SCORES.probabilities.items())))
    cache.keep_result(head("f1"), DIGESTS, Result(backwards, frozenset()))
    packed = cache.recall(head("f1"), DIGESTS)
    assert unpack_result(packed, head("f1")) == Result(SCORES, frozenset())


def test_a_heads_result_is_recalled(cache: Cache, store: FakeStore) -> None:
    """Without a look-up; another head's is left to that."""
    assert cache.recall(head("f1"), DIGESTS) is None
    cache.keep_result(head("f1"), DIGESTS, Result(SCORES, frozenset()))
    assert cache.recall(head("f1"), DIGESTS)
    assert cache.recall(head("f2"), DIGESTS) is None
    assert not store.looked_up


async def test_another_version_never_sees_the_entry(cache: Cache) -> None:
    """An embedding of v1 is none for a head that wants v2."""
    cache.keep_embeddings(DIGESTS, {TEXT: embedding(TEXT, "v1")})
    assert not (await cache.look_up([head(text="v2")], DIGESTS)).embeddings


async def test_one_round_trip_asks_for_all_heads(cache: Cache, store: FakeStore) -> None:
    """Results and embeddings of every head in one look-up, no key twice."""
    await cache.look_up([head("f2", text="v2"), head("f1")], DIGESTS)
    [keys] = store.looked_up
    assert len(keys) == len(set(keys)) == 2 + 4


async def test_the_head_with_the_most_embeddings_wins(cache: Cache) -> None:
    """Embeddings of two heads are never mixed; of equals the preferred head's are taken."""
    heads = [head("f2", text="v2"), head("f1")]
    cache.keep_embeddings(DIGESTS, {TEXT: embedding(TEXT, "v1"), IMAGE: embedding(IMAGE)})
    found = await cache.look_up(heads, DIGESTS)
    assert found.embeddings[TEXT].version == "v1"
    cache.keep_embeddings(DIGESTS, {TEXT: embedding(TEXT, "v2")})
    found = await cache.look_up(heads, DIGESTS)
    assert found.embeddings[TEXT].version == "v2"


GARBAGE = (
    *(b"", b"\xff\xff\xff", b"[1]", b"null", bytes(24), bytes(26), b"[" * 100_000),
    struct.pack("<B3d", 0, math.nan, 0.5, 0.5),
    struct.pack("<B3d", 0, 0.5, math.inf, 0.5),
    struct.pack("<B3d", 8, 0.2, 0.3, 0.5),  # There is no fourth modality that could be truncated.
    caching.pack(embedding(IMAGE)),
    caching.pack(embedding(TEXT, "v2")),
    caching.pack(embedding(TEXT))[:-1],  # It has a number less than it says.
    b"\x00\x07" + caching.pack(embedding(TEXT))[2:],  # There is no eighth dtype.
)


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_a_value_that_is_none_is_a_miss(
    cache: Cache, store: FakeStore, garbage: bytes
) -> None:
    """Whatever somebody wrote under our keys, a look-up neither fails nor believes it."""
    store.put({result_key("f1", DIGESTS): garbage})
    store.put({embedding_key(TEXT, "v1", "t"): garbage})
    found = await cache.look_up([head()], DIGESTS)
    assert found == caching.Found()


async def test_hits_and_misses_are_counted(cache: Cache, metrics: GatewayMetrics) -> None:
    """By modality, and by result where one was there."""
    cache.keep_embeddings(DIGESTS, {TEXT: embedding(TEXT)})
    await cache.look_up([head()], DIGESTS)

    def count(modality: str, result: str) -> float | None:
        labels = {"modality": modality, "result": result}
        return metrics.registry.get_sample_value("mesh_cache_total", labels)

    assert (count("text", "hit"), count("image", "miss"), count("result", "miss")) == (1, 1, 1)
    cache.keep_result(head("f1"), DIGESTS, Result(SCORES, frozenset()))
    await cache.look_up([head()], DIGESTS)
    assert (count("text", "hit"), count("result", "hit")) == (1, 1)
