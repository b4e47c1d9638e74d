"""One fusion artifact at work: embeddings in, probabilities out, through a Batcher.

Knows nothing of gRPC; mesh.fusion_service is its wire.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mesh.batching import Batcher
from mesh.classifying import Classifier, Example
from mesh.embedding import Embedding, Modality
from mesh.errors import InvalidInput, MeshError, Overloaded
from mesh.grouping import BatchLimits
from mesh.places import Caller
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics

_NUMPY_DTYPES: Final = {"float32": "<f4", "float16": "<f2"}

Embeddings = Mapping[Modality, Embedding]
Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class HeadItem:
    """One example on its way to the model; all cost the same."""

    example: Example
    size: float = 1.0


class Head:
    """Replicas of one classifier, one on each device. `start` it on the loop that will call."""

    def __init__(
        self, replicas: Sequence[Classifier], settings: NodeSettings, metrics: NodeMetrics
    ) -> None:
        self.classifier = replicas[0]
        self._batcher: Batcher[HeadItem, Vector] = Batcher(
            [_classify(replica, settings.max_batch) for replica in replicas],
            BatchLimits(settings.max_batch, float(settings.max_batch)),
            settings.max_queue,
            metrics,
        )

    def start(self) -> None:
        """Begin to run batches."""
        self._batcher.start()

    async def close(self, grace: float) -> None:
        """Refuse new examples, and finish those taken in, for up to `grace` seconds."""
        await self._batcher.close(grace)

    def understands(self, embeddings: Embeddings) -> bool:
        """Whether it was trained on exactly these versions of these encoders."""
        trained_on = self.classifier.encoders
        return all(
            modality in trained_on and embedding.version == trained_on[modality].version
            for modality, embedding in embeddings.items()
        )

    def item(self, embeddings: Embeddings) -> HeadItem:
        """An example that it understands, checked; InvalidInput where a vector can't be right."""
        return HeadItem({modality: self._vector(e) for modality, e in embeddings.items()})

    async def classify(self, items: Sequence[HeadItem], deadline: float) -> list[Vector]:
        """The probabilities of each, of shape (labels,); `deadline` as in ItemEncoder.encode.

        Raises Overloaded, DeadlineExpired, Unavailable, or MeshError where the model failed.
        """
        with self._batcher.reserve([Caller(deadline)] * len(items)) as places:
            if len(places) < len(items):
                raise Overloaded("this node's queue is full")
            for place, item in zip(places, items, strict=True):
                self._batcher.submit(place, item)
            return [_checked(await place.outcome) for place in places]

    def _vector(self, embedding: Embedding) -> Vector:
        name, expected = embedding.modality, self.classifier.encoders[embedding.modality].dim
        if embedding.dim != expected:
            raise InvalidInput(f"the {name} embedding has dim {embedding.dim}, not {expected}")
        vector = np.frombuffer(embedding.data, _NUMPY_DTYPES[embedding.dtype]).astype(np.float32)
        if not np.isfinite(vector).all():
            raise InvalidInput(f"the {name} embedding holds numbers that are not finite")
        return vector


def padded(count: int, most: int) -> int:
    """How many examples a head computes for so many: 1, 2, 4, 8, ... and `most`.

    It is small beside what an engine keeps for each size of batch, a mebibyte in OpenVINO.
    """
    return min(1 << (count - 1).bit_length(), most)


def _checked(outcome: Vector | MeshError) -> Vector:
    if isinstance(outcome, MeshError):
        raise outcome
    if not np.isfinite(outcome).all():
        raise MeshError("the model gave probabilities that are not finite")
    return outcome


def _classify(
    classifier: Classifier, most: int
) -> Callable[[Sequence[HeadItem]], Sequence[Vector]]:
    """The classifier as a worker of the Batcher, held to its contract."""

    def classify(items: Sequence[HeadItem]) -> list[Vector]:
        examples = [item.example for item in items]
        examples += [examples[-1]] * (padded(len(items), most) - len(items))
        rows = classifier.classify(examples)
        if rows.shape != (expected := (len(examples), len(classifier.labels))):
            raise MeshError(f"the model gave an array of shape {rows.shape}, not {expected}")
        return list(rows[: len(items)])

    return classify
