"""A fusion head behind the mesh's Classifier contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from mesh.artifact import Artifact
from mesh.classifying import EncoderVersion, Example
from mesh.embedding import Modality
from mesh.engine import Engine, EngineBuilder, Inputs
from mesh.errors import InvalidInput

if TYPE_CHECKING:
    from services.fusion.frame import Fusion


@dataclass(frozen=True, slots=True)
class FusionClassifier:
    """Classifies embeddings with one artifact's head on one device."""

    name: str
    version: str
    labels: tuple[str, ...]
    encoders: Mapping[Modality, EncoderVersion]
    _engine: Engine

    @classmethod
    def load(cls, artifact: Artifact, engine: EngineBuilder) -> Self:
        """Build the artifact's head with its weights."""
        config = artifact.config
        encoders = {
            Modality(name): EncoderVersion(**encoder)
            for name, encoder in config["encoders"].items()
        }
        return cls(
            name=artifact.name,
            version=artifact.version,
            labels=tuple(config["labels"]),
            encoders=encoders,
            _engine=engine(lambda: _head(artifact), collate([_zeros(encoders)], encoders)),
        )

    def classify(self, examples: Sequence[Example]) -> npt.NDArray[np.float32]:
        """The probabilities of one batch: float32 of shape (len(examples), len(labels)).

        Raises InvalidInput where an example holds no embedding, or one of an unknown modality, of
        a wrong length or with numbers that aren't finite.
        """
        for example in examples:
            self._check(example)
        inputs = collate(examples, self.encoders)
        _check_finite(inputs["embeddings"], examples)
        return self._engine(inputs)

    def _check(self, example: Example) -> None:
        if not example:
            raise InvalidInput("an example without any embedding can't be classified")
        for modality, vector in example.items():
            if modality not in self.encoders:
                raise InvalidInput(f"{self.name} knows no {modality}")
            if vector.shape != (dim := self.encoders[modality].dim,):
                raise InvalidInput(f"the {modality} embedding has shape {vector.shape}, not {dim}")


def _check_finite(rows: Any, examples: Sequence[Example]) -> None:
    if np.isfinite(rows).all():  # All of them at once take no longer than one.
        return
    for example in examples:
        for modality, vector in example.items():
            if not np.isfinite(vector).all():
                raise InvalidInput(f"the {modality} embedding has numbers that aren't finite")


def _head(artifact: Artifact) -> "Fusion":
    # Here, so that a node whose engine kept the head starts without torch.
    from services.fusion.model import FUSIONS

    config = artifact.config
    dims = [encoder["dim"] for encoder in config["encoders"].values()]
    shape = {"dims": dims, "classes": len(config["labels"]), **config["model"]}
    head = FUSIONS[config["architecture"]](shape)
    head.load_state_dict(artifact.weights())
    return head


def collate(examples: Sequence[Example], encoders: Mapping[Modality, EncoderVersion]) -> Inputs:
    """The head's inputs: embeddings side by side, zeros for missing ones, and the presence mask.

    Both are float32, of shape (examples, sum of the encoders' dims) and (examples, encoders).
    """
    zeros = _zeros(encoders)
    rows = [
        np.concatenate([example.get(modality, zeros[modality]) for modality in encoders])
        for example in examples
    ]
    present = [[modality in example for modality in encoders] for example in examples]
    return {
        "embeddings": np.stack(rows),
        "present": np.array(present, np.float32),
    }


def _zeros(encoders: Mapping[Modality, EncoderVersion]) -> Example:
    return {modality: np.zeros(encoder.dim, np.float32) for modality, encoder in encoders.items()}
