"""The contract of an encoder: what a model's author writes, and all that the mesh asks for.

    item = encoder.preprocess(raw)      # in a thread, before the queue; may raise InputError
    vectors = encoder.forward([item])   # one batch, on the thread of the encoder's own device

Queues, deadlines, batches and transport belong to whoever runs the encoder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from mesh.embedding import Modality

Raw = str | bytes


class Item(Protocol):
    """A preprocessed input, ready for the model."""

    @property
    def size(self) -> float:
        """How much of the model's time it takes: tokens, pixels or seconds of sound.

        In one run of the model every item costs as much as the largest, to which others are padded.
        """

    @property
    def truncated(self) -> bool:
        """Whether preprocessing cut the input at the model's limit."""


@dataclass(frozen=True, slots=True)
class Usual:
    """What items are like: their size, and the seconds of a core that one takes.

    The latter is None where the model has a device of its own.
    """

    size: float
    core_seconds: float | None = None


I = TypeVar("I", bound=Item)  # noqa: E741  The letter that the field uses.


class Encoder(Protocol[I]):
    """Model and preprocessing together, on one device."""

    @property
    def modality(self) -> Modality:
        """What it reads."""

    @property
    def version(self) -> str:
        """The artifact's version, "sha256:" and 64 hexadecimal digits."""

    @property
    def dim(self) -> int:
        """How many numbers an embedding has."""

    @property
    def limits(self) -> Mapping[str, float]:
        """The largest input, by name: "characters", "bytes", "pixels", "seconds"."""

    @property
    def max_batch_size(self) -> float:
        """The largest batch, in the unit of `Item.size`: items times the largest of them."""

    @property
    def example(self) -> Raw:
        """A valid input, for warming up."""

    def preprocess(self, raw: Raw) -> I:
        """Decode, check and convert one input. Pure, and safe to call from many threads.

        Raises InvalidInput, TooLarge or UnsupportedFormat.
        """

    def forward(self, items: Sequence[I]) -> npt.NDArray[np.float32]:
        """Encode a batch, or a part of one: float32 of shape (len(items), dim), in their order."""
