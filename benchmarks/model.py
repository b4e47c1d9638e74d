"""The complete work of a request in one process: decoding, three encoders, fusion. No server.

What the ceiling is measured by and what peers serve: the very artifacts and code of the mesh.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from benchmarks.setup import Setup
from mesh.artifact import Artifact
from mesh.classifying import Classifier
from mesh.embedding import Modality
from mesh.encoding import Encoder, Item, Raw
from mesh.engine import Kind, builders, prepare
from mesh.golden import check_classifier, check_encoder
from mesh.grouping import BatchLimits, choose
from mesh.loading import LoadEncoder
from mesh.settings import InputLimits, NodeSettings
from services.audio_encoder.encoder import AudioEncoder
from services.fusion.classifier import FusionClassifier
from services.text_encoder.encoder import TextEncoder
from services.vision_encoder.encoder import VisionEncoder

ROOT: Final = Path(__file__).parents[1]
MODEL: Final = ROOT / "models/emotion6"
LOAD: Final[Mapping[Modality, LoadEncoder]] = {
    Modality.TEXT: TextEncoder.load,
    Modality.IMAGE: VisionEncoder.load,
    Modality.AUDIO: AudioEncoder.load,
}

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Model:
    """All of a model on one engine."""

    encoders: Mapping[Modality, Encoder[Any]]
    classifier: Classifier
    most: int

    @classmethod
    def load(cls, setup: Setup) -> Self:
        """The default model; ArtifactError where this engine can't compute what it should."""
        settings = setup.settings
        prepare(settings)
        encoders = {modality: _encoder(modality, settings) for modality in LOAD}
        return cls(encoders, _classifier(settings), settings.max_batch)

    def predict(self, requests: Sequence[Mapping[str, Raw]]) -> list[str]:
        """The class of each request, whose inputs are named by modality."""
        examples: list[dict[Modality, Vectors]] = [{} for _ in requests]
        for modality in self.encoders:
            having = [place for place, request in enumerate(requests) if modality in request]
            vectors = self.encode(modality, [requests[place][modality] for place in having])
            for place, vector in zip(having, vectors, strict=True):
                examples[place][modality] = vector
        best = self.classifier.classify(examples).argmax(axis=1)
        return [self.classifier.labels[index] for index in best]

    def encode(self, modality: Modality, inputs: Sequence[Raw]) -> list[Vectors]:
        """One modality's embeddings, in batches as a node would make them."""
        encoder = self.encoders[modality]
        items = [encoder.preprocess(raw) for raw in inputs]
        limits = BatchLimits(self.most, encoder.max_batch_size)
        found: dict[int, Vectors] = {}
        for places in _batches(items, limits):
            found |= zip(places, encoder.forward([items[place] for place in places]), strict=True)
        return [found[place] for place in range(len(items))]


def _encoder(modality: Modality, settings: NodeSettings) -> Encoder[Any]:
    artifact = Artifact.open(MODEL / modality)
    kind = Kind(settings.engine, settings.dtype)
    (build,) = builders(kind, settings, artifact)
    encoder = LOAD[modality](artifact, build, InputLimits())
    check_encoder(encoder, artifact, kind.tolerance)
    return encoder


def _classifier(settings: NodeSettings) -> Classifier:
    """In float32, as a node of fusion has it: it is too small for its dtype to matter."""
    artifact = Artifact.open(MODEL / "fusion")
    kind = Kind(settings.engine, "float32")
    (build,) = builders(kind, settings, artifact)
    classifier = FusionClassifier.load(artifact, build)
    check_classifier(classifier, artifact, kind.tolerance)
    return classifier


def _batches(items: Sequence[Item], limits: BatchLimits) -> Iterator[list[int]]:
    waiting = list(range(len(items)))
    while waiting:
        chosen = [waiting[i] for i in choose([items[place].size for place in waiting], limits)]
        yield chosen
        waiting = [place for place in waiting if place not in chosen]
