"""Tiny correct models for tests of the node: an encoder of text or bytes, and a classifier.

They can be held inside a batch (`gate`), so that tests decide what happens meanwhile.
"""

import asyncio
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mesh.classifying import EncoderVersion, Example
from mesh.embedding import Modality
from mesh.encoding import Raw
from mesh.errors import InvalidInput, TooLarge, UnsupportedFormat

# No test waits longer than this for another thread.
PATIENCE = 20.0

VERSION = "sha256:" + "0" * 64


class Gate:
    """Holds threads while it is shut, and tells who came."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self._opened.set()
        self._arrivals: queue.SimpleQueue[None] = queue.SimpleQueue()

    def shut(self) -> None:
        """Hold whoever comes from now on."""
        self._opened.clear()

    def open(self) -> None:
        """Let everyone through."""
        self._opened.set()

    def pass_through(self) -> None:
        """Wait, on a thread, until the gate is open."""
        self._arrivals.put(None)
        assert self._opened.wait(PATIENCE), "nobody opened the gate"

    async def arrival(self) -> None:
        """Wait until one more thread has come to the gate."""
        await asyncio.to_thread(self._arrivals.get, timeout=PATIENCE)


@dataclass(frozen=True, slots=True)
class FakeItem:
    """A preprocessed input; its size is its length."""

    content: Raw
    truncated: bool

    @property
    def size(self) -> float:
        """Its length."""
        return len(self.content)


class FakeEncoder:
    """Encodes an input as (its length, its first unit, 1), by every sentence of the contract.

    Refuses "" as invalid, over 100 units as too large and "unsupported" as unsupported; cuts at 50;
    crashes over "crash" in preprocessing and over "broken" in the model; gives NaN for "nan".
    """

    dim = 3
    limits: Mapping[str, float] = {"characters": 100}
    max_batch_size = 1000.0

    def __init__(self, modality: Modality = Modality.TEXT, version: str = VERSION) -> None:
        self.modality = modality
        self.version = version
        self.gate = Gate()
        self.preprocess_gate = Gate()
        self.batches: list[list[Raw]] = []

    @property
    def example(self) -> Raw:
        """An ordinary input."""
        return "example" if self.modality is Modality.TEXT else b"example"

    def preprocess(self, raw: Raw) -> FakeItem:
        """Check and cut."""
        self.preprocess_gate.pass_through()
        if not raw:
            raise InvalidInput("nothing to encode")
        if len(raw) > 100:
            raise TooLarge(f"{len(raw)} units, more than 100")
        if raw in ("unsupported", b"unsupported"):
            raise UnsupportedFormat("of no known format")
        if raw in ("crash", b"crash"):
            raise ValueError(f"can't read {raw!r}")
        return FakeItem(raw[:50], truncated=len(raw) > 50)

    def forward(self, items: Sequence[FakeItem]) -> npt.NDArray[np.float32]:
        """Encode a batch: (items, 3)."""
        self.batches.append([item.content for item in items])
        self.gate.pass_through()
        if any(item.content in ("broken", b"broken") for item in items):
            raise RuntimeError("the model choked")
        return np.array([_vector(item.content) for item in items], dtype=np.float32)


def _vector(content: Raw) -> list[float]:
    if content in ("nan", b"nan"):
        return [float("nan")] * 3
    first = content[0]
    return [len(content), ord(first) if isinstance(first, str) else first, 1]


@dataclass
class FakeClassifier:
    """Gives "many" a probability that grows by 0.3 with each embedding; counts its batches."""

    name: str = "fake"
    version: str = "sha256:" + "f" * 64
    labels: Sequence[str] = ("few", "many")
    encoders: Mapping[Modality, EncoderVersion] = field(
        default_factory=lambda: {modality: EncoderVersion(VERSION, 3) for modality in Modality}
    )
    batches: list[int] = field(default_factory=list)
    gate: Gate = field(default_factory=Gate)

    def classify(self, examples: Sequence[Example]) -> npt.NDArray[np.float32]:
        """(examples, 2); an embedding that begins with 13 makes NaN of the answer."""
        self.batches.append(len(examples))
        self.gate.pass_through()
        many = np.array([_many(example) for example in examples], dtype=np.float32)
        return np.stack([1 - many, many], axis=1)


def _many(example: Example) -> float:
    unlucky = any(vector[0] == 13 for vector in example.values())
    return float("nan") if unlucky else 0.3 * len(example)
