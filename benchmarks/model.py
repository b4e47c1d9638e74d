"""The complete work of a request in one process: decoding, three encoders, fusion. No server.

What the ceiling is measured by and what peers serve: the very artifacts and code of the mesh.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from benchmarks.setup import Setup
from mesh.artifact import Artifact
from mesh.classifying import Classifier
from mesh.embedding import Modality
from mesh.encoding import Encoder, Raw
from mesh.engine import Kind, builders, prepare
from mesh.golden import check_classifier, check_encoder
from mesh.grouping import BatchLimits
from mesh.loading import LoadEncoder
from mesh.micro_batching import forward
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
    limits: Mapping[Modality, BatchLimits]

    @classmethod
    def load(cls, setup: Setup, parts: Mapping[str, float] | None = None) -> Self:
        """The default model; ArtifactError where this engine can't compute what it should.

        `parts` are by modality what one run of the model costs at most (benchmarks.parts); without
        them that is the encoder's own limit.
        """
        settings = setup.settings
        prepare(settings)
        encoders = {modality: _encoder(modality, settings) for modality in LOAD}
        limits = {
            modality: BatchLimits(
                settings.max_batch, parts[modality] if parts else encoder.max_batch_size
            )
            for modality, encoder in encoders.items()
        }
        return cls(encoders, _classifier(settings), limits)

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
        """One modality's embeddings."""
        encoder = self.encoders[modality]
        items = [encoder.preprocess(raw) for raw in inputs]
        return list(forward(encoder, items, self.limits[modality]))


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
