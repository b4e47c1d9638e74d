"""The contract of a classifier: what fusion's author writes, and all that the mesh asks for.

    probabilities = classifier.classify([{Modality.TEXT: vector, Modality.AUDIO: vector}])

A classifier is one fusion artifact, and understands exactly one version of each encoder. Queues,
deadlines, batches, transport and the choice among several artifacts belong to whoever runs it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mesh.embedding import Modality

# One to three embeddings of one example, each float32 of shape (dim,).
Example = Mapping[Modality, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class EncoderVersion:
    """The one version of an encoder whose embeddings a classifier understands."""

    version: str
    dim: int


class Classifier(Protocol):
    """One fusion artifact, on one device."""

    @property
    def name(self) -> str:
        """The model's name, such as "emotion6"."""

    @property
    def version(self) -> str:
        """The artifact's version, "sha256:" and 64 hexadecimal digits."""

    @property
    def labels(self) -> Sequence[str]:
        """The classes, in the order of the probabilities."""

    @property
    def encoders(self) -> Mapping[Modality, EncoderVersion]:
        """What it was trained on; an example holds any subset of these but the empty one."""

    def classify(self, examples: Sequence[Example]) -> npt.NDArray[np.float32]:
        """The probabilities of one batch: float32 of shape (len(examples), len(labels)).

        In the examples' order; each row sums to one.
        """
