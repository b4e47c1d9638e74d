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

from gateway.clients import Head, Scores
from gateway.digests import Digests
from gateway.metrics import GatewayMetrics
from gateway.writing import Claim
from mesh.embedding import ITEM_BYTES, Embedding, Modality
from mesh.errors import MeshError

# The order of a packed result's bits, and of packed embeddings' modalities. Like that of dtypes it
# is part of what is stored: add at the end alone, or begin keys by another number.
_MODALITIES: Final = tuple(Modality)
# The order of a packed embedding's dtypes, and its head: the places of modality and dtype, whether
# the input was cut, how many numbers there are, and the bytes of the version.
_DTYPES: Final = tuple(ITEM_BYTES)
_EMBEDDING: Final = Struct("<BB?II")
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
        results = [result_key(head.version, digests) for head in heads] if with_result else []
        embeddings = [(head, _embedding_keys(head, digests)) for head in heads]
        wanted = dict.fromkeys([key for _, keys in embeddings for key in keys.values()])
        values = await self._store.get([*results, *wanted])
        found = _result(heads, results, values) or _best(embeddings, values)
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
        self._metrics.looked_up("result", found.result is not None)
        if not found.result:
            for modality in digests:
                self._metrics.looked_up(modality, modality in found.embeddings)


def embedding_key(modality: Modality, version: str, digest: str) -> str:
    """Where the embedding of one input by one encoder version lies."""
    return f"mesh:3:embedding:{modality}:{version}:{digest}"


def claim_key(modality: Modality, digest: str) -> str:
    """Where a gateway says that it encodes an input, whichever version will answer."""
    return f"mesh:3:encoding:{modality}:{digest}"


def result_key(fusion_version: str, digests: Digests) -> str:
    """Where the answer of one fusion version to one set of inputs lies."""
    parts = ";".join([f"{m}={digests[m]}" for m in _MODALITIES if m in digests])
    return f"mesh:3:result:{fusion_version}:{blake3(parts.encode()).hexdigest()}"


def pack(embedding: Embedding) -> bytes:
    """An embedding as a store's value: a head of fixed size, the version, and the numbers."""
    version = embedding.version.encode()
    head = _EMBEDDING.pack(
        _MODALITIES.index(embedding.modality),
        _DTYPES.index(embedding.dtype),
        embedding.truncated,
        embedding.dim,
        len(version),
    )
    return head + version + embedding.data


def unpack(value: bytes | None, modality: Modality, version: str) -> Embedding | None:
    """A store's value as an embedding; None for a value that is none, or another one's."""
    if value is None:
        return None
    try:
        place, dtype, truncated, dim, size = _EMBEDDING.unpack_from(value)
        end = _EMBEDDING.size + size
        if place != _MODALITIES.index(modality) or value[_EMBEDDING.size : end] != version.encode():
            return None
        return Embedding(modality, version, _DTYPES[dtype], dim, value[end:], truncated)
    except (error, IndexError, MeshError):
        return None


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


def _result(
    heads: Sequence[Head], keys: Sequence[str], values: Mapping[str, bytes]
) -> Found | None:
    """The result of the first head that has one, where results were looked for."""
    for head, key in zip(heads, keys, strict=False):
        if result := unpack_result(values.get(key), head):
            return Found(result)
    return None


def _best(
    embeddings: Sequence[tuple[Head, Mapping[Modality, str]]], values: Mapping[str, bytes]
) -> Found:
    """What the head with the most embeddings has of them; with each head, where they would lie."""
    best = Found()
    for head, keys in embeddings:
        there = {
            modality: found
            for modality, key in keys.items()
            if (found := unpack(values.get(key), modality, head.encoders[modality]))
        }
        if len(there) > len(best.embeddings):
            best = Found(embeddings=there)
    return replace(best, seen=values.keys())
