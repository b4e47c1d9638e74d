"""The embedding cache: which keys there are, what lies under them, and what of it fits together.

Keys are content and version, so an entry is never stale, only unused:
an embedding lies under its modality, its encoder's version and the digest of its input,
a result under the version of the fusion head that gave it and the digests of all of its inputs.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import isfinite
from struct import Struct, error
from typing import Final, Protocol

from blake3 import blake3
from google.protobuf.message import DecodeError

from gateway.clients import Head, Scores
from gateway.digests import Digests
from gateway.metrics import GatewayMetrics
from gateway.store import Claim
from mesh.embedding import Embedding, Modality, embedding_from_pb, embedding_to_pb
from mesh.errors import MeshError
from mesh.v1 import embedding_pb2

# The order of a packed result's bits.
_MODALITIES: Final = tuple(Modality)
_NOTHING: Final[frozenset[Modality]] = frozenset()


class KeepsBytes(Protocol):
    """The part of a store that the cache needs."""

    async def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What is there of `keys`."""

    def at_hand(self, key: str) -> bytes | None:
        """What is there without asking anybody. Callable from any thread."""

    def put(self, entries: Mapping[str, bytes], done: Claim | None = None) -> None:
        """Keep entries and then end the claim, without making the caller wait."""


@dataclass(frozen=True, slots=True)
class Result:
    """A head's answer, and the modalities of which an encoder had cut the input."""

    scores: Scores
    truncated: frozenset[Modality]


@dataclass(frozen=True, slots=True)
class Found:
    """What the cache knew of one request: its result, or embeddings that one head understands."""

    result: Result | None = None
    embeddings: Mapping[Modality, Embedding] = field(default_factory=dict)
    # The keys under which there was anything at all.
    seen: Collection[str] = field(default=(), compare=False)


class Cache:
    """Looks up and keeps embeddings and results in a store of bytes."""

    def __init__(self, store: KeepsBytes, metrics: GatewayMetrics) -> None:
        self._store = store
        self._metrics = metrics

    def recall(self, head: Head, digests: Digests) -> bytes | None:
        """That head's result, packed, where this process has it. Callable from any thread."""
        return self._store.at_hand(result_key(head.version, digests))

    async def look_up(
        self, heads: Sequence[Head], digests: Digests, *, with_result: bool = True
    ) -> Found:
        """What is known of these inputs under any of `heads`, in one round trip.

        Without `with_result` only embeddings are looked for, as an explanation needs them.
        """
        keys = [result_key(head.version, digests) for head in heads] if with_result else []
        keys += {key for head in heads for key in _embedding_keys(head, digests).values()}
        values = await self._store.get(keys)
        found = _best(heads, digests, values)
        self._count(found, digests)
        return found

    def keep_embeddings(
        self,
        digests: Digests,
        embeddings: Mapping[Modality, Embedding],
        done: Claim | None = None,
    ) -> None:
        """Keep what encoders computed, under the version that computed it, then end the claim."""
        entries = {
            embedding_key(modality, embedding.version, digests[modality]): pack(embedding)
            for modality, embedding in embeddings.items()
        }
        self._store.put(entries, done)

    def keep_result(self, head: Head, digests: Digests, result: Result) -> None:
        """Keep that head's answer, which rests on all of its inputs."""
        self._store.put({result_key(head.version, digests): pack_result(result, head)})

    def _count(self, found: Found, digests: Digests) -> None:
        hit = "hit" if found.result else "miss"
        self._metrics.cache.labels("result", hit).inc()
        if not found.result:
            for modality in digests:
                hit = "hit" if modality in found.embeddings else "miss"
                self._metrics.cache.labels(modality, hit).inc()


def embedding_key(modality: Modality, version: str, digest: str) -> str:
    """Where the embedding of one input by one encoder version lies."""
    return f"mesh:2:embedding:{modality}:{version}:{digest}"


def claim_key(modality: Modality, digest: str) -> str:
    """Where a gateway says that it encodes an input, whichever version will answer."""
    return f"mesh:2:encoding:{modality}:{digest}"


def result_key(fusion_version: str, digests: Digests) -> str:
    """Where the answer of one fusion version to one set of inputs lies."""
    parts = ";".join([f"{m}={digests[m]}" for m in _MODALITIES if m in digests])
    return f"mesh:2:result:{fusion_version}:{blake3(parts.encode()).hexdigest()}"


def pack(embedding: Embedding) -> bytes:
    """An embedding as a store's value."""
    return embedding_to_pb(embedding).SerializeToString()


def unpack(value: bytes | None, modality: Modality, version: str) -> Embedding | None:
    """A store's value as an embedding; None for a value that is none, or another one's."""
    try:
        found = embedding_from_pb(embedding_pb2.Embedding.FromString(value)) if value else None
    except (DecodeError, MeshError):
        return None
    fits = found is not None and (found.modality, found.version) == (modality, version)
    return found if fits else None


def pack_result(result: Result, head: Head) -> bytes:
    """An answer as a store's value: a byte of what was truncated, and float64 in labels' order.

    Whose answer it is, its key says.
    """
    truncated = sum(1 << place for place, m in enumerate(_MODALITIES) if m in result.truncated)
    probabilities = [result.scores.probabilities[label] for label in head.labels]
    return _record(len(head.labels)).pack(truncated, *probabilities)


def unpack_result(value: bytes | None, head: Head) -> Result | None:
    """A store's value as an answer of that head; None for a value that is none."""
    if value is None:
        return None
    try:
        bits, *probabilities = _record(len(head.labels)).unpack(value)
    except error:
        return None
    if bits >> len(_MODALITIES) or not all(map(isfinite, probabilities)):
        return None
    scores = Scores(head.name, head.version, dict(zip(head.labels, probabilities, strict=True)))
    return Result(scores, _truncated(bits) if bits else _NOTHING)


@cache
def _record(labels: int) -> Struct:
    return Struct(f"<B{labels}d")


def _truncated(bits: int) -> frozenset[Modality]:
    return frozenset(m for place, m in enumerate(_MODALITIES) if bits >> place & 1)


def _embedding_keys(head: Head, digests: Digests) -> dict[Modality, str]:
    return {
        modality: embedding_key(modality, head.encoders[modality], digest)
        for modality, digest in digests.items()
        if modality in head.encoders
    }


def _best(heads: Sequence[Head], digests: Digests, values: Mapping[str, bytes]) -> Found:
    """The result of the first head that has one, else the head with the most embeddings."""
    best = Found()
    for head in heads:
        if result := unpack_result(values.get(result_key(head.version, digests)), head):
            return Found(result)
    for head in heads:
        keys = _embedding_keys(head, digests)
        there = {
            modality: found
            for modality, key in keys.items()
            if (found := unpack(values.get(key), modality, head.encoders[modality]))
        }
        if len(there) > len(best.embeddings):
            best = Found(embeddings=there)
    return replace(best, seen=values.keys())
