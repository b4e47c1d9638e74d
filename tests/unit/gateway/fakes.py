"""Small correct stand-ins for what the gateway stands on: encoders, fusion and a store of bytes."""

import asyncio
import time
from collections.abc import Mapping, Sequence

from gateway.cache import Cache
from gateway.catalog import Catalog
from gateway.clients import Head, Scores
from gateway.coalescing import Wait
from gateway.contract import PredictRequest
from gateway.digests import digests_of
from gateway.embedder import Embedder
from gateway.metrics import GatewayMetrics
from gateway.pipeline import Pipeline
from gateway.turns import Turns
from gateway.writing import Claim
from mesh.embedding import Embedding, Modality
from mesh.errors import MeshError, VersionMismatch

TEXT, IMAGE, AUDIO = Modality
LABELS = ("anger", "joy", "neutral")
INPUTS = {"text": "hello", "image": b"png", "audio": b"wav"}


def embedding(modality: Modality, version: str = "v1", *, truncated: bool = False) -> Embedding:
    """A one-dimensional embedding."""
    return Embedding(modality, version, "float32", 1, b"\0\0\x80\x3f", truncated)


def head(version: str = "f1", **encoders: str) -> Head:
    """A head that was trained on v1 of every encoder, but for those that are named."""
    versions = {modality: encoders.get(modality, "v1") for modality in Modality}
    return Head("fake", version, LABELS, versions)


def head_for(*modalities: Modality, version: str = "f1", trained_on: str = "v1") -> Head:
    """A head that was trained on these encoders alone, all of one version."""
    return Head("fake", version, LABELS, dict.fromkeys(modalities, trained_on))


class FakeEncoder:
    """Encodes anything as `version`; waits for `gate`, then fails where it was told how."""

    def __init__(self, modality: Modality) -> None:
        self.modality = modality
        self.version = "v1"
        self.error: MeshError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.encoded: list[str | bytes] = []
        self.waits: list[Wait] = []
        self.described = 0

    async def encode(
        self, payload: str | bytes, deadline: float, request_id: str, wait: Wait | None = None
    ) -> Embedding:
        """Record the payload and give an embedding."""
        self.encoded.append(payload)
        self.waits.append(wait or Wait())
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return embedding(self.modality, self.version, truncated=payload == "long")

    async def describe(self, deadline: float) -> str:
        """The version that it encodes as."""
        self.described += 1
        if self.error is not None:
            raise self.error
        return self.version


class FakeFusion:
    """Gives joy a probability that grows by 0.3 with each embedding."""

    def __init__(self, *heads: Head) -> None:
        self.heads = heads
        self.error: MeshError | None = None
        # Heads that it says it holds, but doesn't.
        self.refused: set[str] = set()
        self.versions: list[str] = []
        self.described = 0

    async def describe(self, deadline: float) -> tuple[Head, ...]:
        """Its heads."""
        self.described += 1
        if self.error is not None:
            raise self.error
        return self.heads

    async def classify(
        self,
        version: str,
        examples: Sequence[Sequence[Embedding]],
        deadline: float,
        request_id: str,
    ) -> list[Scores]:
        """Scores by the number of embeddings; VersionMismatch where it can't be that head's."""
        self.versions.append(version)
        if self.error is not None:
            raise self.error
        if version in self.refused:
            raise VersionMismatch("not here")
        return [self._score(version, example) for example in examples]

    def _score(self, version: str, example: Sequence[Embedding]) -> Scores:
        for one in self.heads:
            known = all(one.encoders.get(e.modality) == e.version for e in example)
            if known and one.version == version:
                joy = 0.3 * len(example)
                rest = (1 - joy) / 2
                return Scores(
                    one.name, one.version, dict(zip(LABELS, (rest, joy, rest), strict=True))
                )
        raise VersionMismatch("no such head")


class FakeStore:
    """A dictionary, and another of claims, for which it may not answer."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.claims: dict[str, bytes] = {}
        self.answers = True
        self.looked_up: list[list[str]] = []

    async def get(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What is there of `keys`."""
        self.looked_up.append(list(keys))
        return {key: self.entries[key] for key in keys if key in self.entries}

    def at_hand(self, key: str) -> bytes | None:
        """What is there, without a look-up."""
        return self.entries.get(key)

    async def peek(self, keys: Sequence[str]) -> dict[str, bytes] | None:
        """What is there of `keys` and claims."""
        if not self.answers:
            return None
        everything = self.entries | self.claims
        return {key: everything[key] for key in keys if key in everything}

    async def claim(self, claim: Claim, seconds: float, patience: float) -> bool | None:
        """Hold a key for good, unless somebody does."""
        if not self.answers:
            return None
        return self.claims.setdefault(claim.key, claim.token.encode()) == claim.token.encode()

    def put(self, entries: Mapping[str, bytes], done: Claim | None = None) -> None:
        """Keep entries, and end a claim."""
        self.entries.update(entries)
        if done and self.claims.get(done.key) == done.token.encode():
            del self.claims[done.key]


class FakeMesh:
    """A pipeline over fakes, the catalog already filled."""

    def __init__(self, *heads: Head, store: FakeStore | None = None) -> None:
        """One with a `store` that it is given shares it with others."""
        self.encoders = {modality: FakeEncoder(modality) for modality in Modality}
        self.fusion = FakeFusion(*(heads or (head(),)))
        self.store = store or FakeStore()
        self.metrics = GatewayMetrics()
        self.catalog = Catalog(self.fusion, self.encoders)
        cache = Cache(self.store, self.metrics)
        embedder = Embedder(self.encoders, Turns(cache, self.store, shared=store is not None))
        self.pipeline = Pipeline(self.catalog, embedder, self.fusion, cache, self.metrics, 0.05)

    async def classify(self, explain: bool = False, seconds: float = 5.0, **inputs: str | bytes):
        """Classify inputs given by the names of their modalities."""
        if not self.catalog.heads:
            await self.catalog.refresh()
        request = self.request(explain, seconds, **inputs)
        return await self.pipeline.classify(request)

    def recall(self, explain: bool = False, **inputs: str | bytes):
        """What is known of such inputs already."""
        return self.pipeline.recall(self.request(explain, **inputs))

    def request(self, explain: bool = False, seconds: float = 5.0, **inputs: str | bytes):
        """The request of such inputs, to be answered in so many seconds."""
        named = {Modality(name): payload for name, payload in inputs.items()}
        deadline = time.monotonic() + seconds
        return PredictRequest(named, digests_of(named), deadline, "test", explain)


def statuses(answer) -> list[str]:
    """What became of each modality, in their order."""
    return [report.status for report in answer.modalities.values()]
