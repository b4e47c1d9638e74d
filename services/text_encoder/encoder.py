"""The text encoder: preprocessing and model together, behind the mesh's Encoder contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.encoding import Raw
from mesh.engine import Engine, EngineBuilder
from mesh.settings import InputLimits
from services.text_encoder.model import ARCHITECTURES
from services.text_encoder.preprocess import TextConfig, TextItem, TextPreprocessor, collate

EXAMPLE: Final = "What a lovely surprise, I am so happy to see you!"

# Four texts of the greatest length. Beyond that a CPU takes longer, and no less time per text.
MAX_BATCH_TOKENS: Final = 4 * 256


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """Encodes texts with one artifact's model on one device."""

    version: str
    dim: int
    limits: Mapping[str, float]
    _preprocess: TextPreprocessor
    _engine: Engine

    modality = Modality.TEXT
    max_batch_size = float(MAX_BATCH_TOKENS)
    example = EXAMPLE

    @classmethod
    def load(cls, artifact: Artifact, engine: EngineBuilder, limits: InputLimits) -> Self:
        """Build the artifact's model and tokenizer."""
        config = artifact.config
        architecture = ARCHITECTURES[config["architecture"]]
        model = architecture.build(config["model"])
        model.load_state_dict(architecture.read(artifact.base_weights()) | artifact.weights())
        preprocess = TextPreprocessor(
            TextConfig(**config["preprocess"]),
            artifact.file("tokenizer"),
            limits.max_text_chars,
        )
        return cls(
            version=artifact.version,
            dim=model.dim,
            limits={"characters": limits.max_text_chars},
            _preprocess=preprocess,
            _engine=engine(model, collate([preprocess(EXAMPLE)])),
        )

    def preprocess(self, raw: Raw) -> TextItem:
        """Tokenize one text; raises as TextPreprocessor does."""
        return self._preprocess(raw)

    def forward(self, items: Sequence[TextItem]) -> npt.NDArray[np.float32]:
        """Encode one batch: float32 of shape (len(items), dim)."""
        return self._engine(collate(items))
