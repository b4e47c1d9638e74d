"""The text encoder: preprocessing and model together, behind the mesh's Encoder contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt

from mesh.artifact import Artifact, ArtifactError
from mesh.embedding import Modality
from mesh.encoding import Raw
from mesh.engine import Engine, EngineBuilder
from mesh.settings import InputLimits
from services.text_encoder.preprocess import (
    REVISION,
    TextConfig,
    TextItem,
    TextPreprocessor,
    collate,
)

if TYPE_CHECKING:
    from services.text_encoder.network import Network

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
        """Build the artifact's model and tokenizer; ArtifactError if they don't fit each other."""
        artifact.check_preprocess(REVISION)
        preprocess = TextPreprocessor(
            TextConfig(**artifact.config["preprocess"]),
            artifact.file("tokenizer"),
            limits.max_text_chars,
        )
        run = engine(lambda: _network(artifact, preprocess), collate([preprocess(EXAMPLE)]))
        return cls(
            version=artifact.version,
            dim=run.dim,
            limits={"characters": limits.max_text_chars},
            _preprocess=preprocess,
            _engine=run,
        )

    def preprocess(self, raw: Raw) -> TextItem:
        """Tokenize one text; raises as TextPreprocessor does."""
        return self._preprocess(raw)

    def forward(self, items: Sequence[TextItem]) -> npt.NDArray[np.float32]:
        """Encode one batch: float32 of shape (len(items), dim)."""
        liked = self._engine.length(max(len(item.ids) for item in items))
        return self._engine(collate(items, min(liked, self._preprocess.max_tokens)))


def _network(artifact: Artifact, preprocess: TextPreprocessor) -> "Network":
    """The artifact's network with its weights; without a base all of them are its own."""
    # Here, so that a node whose engine kept the network starts without torch.
    from services.text_encoder.model import ARCHITECTURES

    architecture = ARCHITECTURES[artifact.config["architecture"]]
    model = architecture.build(artifact.config["model"])
    base = architecture.read(artifact.base_weights()) if "base" in artifact.config else {}
    model.load_state_dict(base | artifact.weights())
    _check_fit(model, preprocess)
    return model


def _check_fit(model: "Network", preprocess: TextPreprocessor) -> None:
    """Else a text that is long, or has a certain word in it, would fail its whole batch."""
    if model.positions is not None and preprocess.max_tokens > model.positions:
        raise ArtifactError(
            f"preprocess.max_tokens is {preprocess.max_tokens}, but the model has only "
            f"{model.positions} positions"
        )
    if preprocess.vocabulary > model.vocabulary:
        raise ArtifactError(
            f"the tokenizer has {preprocess.vocabulary} tokens, but the model knows only "
            f"{model.vocabulary}"
        )
