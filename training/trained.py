"""A trained model as serving loads it, and what its encoders make of a manifest's rows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from mesh.artifact import Artifact
from mesh.classifying import Classifier
from mesh.embedding import Modality
from mesh.encoding import Encoder, Raw
from mesh.engine import EngineBuilder
from mesh.errors import InputError
from mesh.settings import InputLimits
from services.fusion.classifier import FusionClassifier
from training.embed import ENCODERS, embed, embed_cached, engine
from training.errors import TrainingError
from training.examine import vector_of
from training.manifest import Row

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Model:
    """A head and its encoders. A modality without an encoder comes as features.

    `join` says how the head's examples were joined, as in training.config.FusionConfig; `seed` is
    the one that it was trained with.
    """

    classifier: Classifier
    encoders: Mapping[Modality, Encoder[Any]]
    join: str
    seed: int

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Everything that the head combines, in the order of Modality."""
        return tuple(modality for modality in Modality if modality in self.classifier.encoders)


def load_model(folder: Path) -> Model:
    """The head of `folder`/fusion and the encoders beside it, by training.embed's engine.

    Raises ArtifactError where one can't be used, TrainingError where they don't belong together.
    """
    build = engine()
    fusion = Artifact.open(folder / "fusion")
    with fusion.blamed():
        head = FusionClassifier.load(fusion, build)
    encoders = {
        modality: _load_encoder(folder / modality, modality, build, trained_on.version)
        for modality, trained_on in head.encoders.items()
        if (folder / modality).is_dir()
    }
    config = fusion.config
    return Model(head, encoders, config.get("join", "row"), config.get("data", {}).get("seed", 0))


def _load_encoder(
    folder: Path, modality: Modality, build: EngineBuilder, version: str
) -> Encoder[Any]:
    artifact = Artifact.open(folder)
    if artifact.version != version:
        raise TrainingError(f"{folder} is {artifact.version}; fusion was trained on {version}")
    with artifact.blamed():
        encoder: Encoder[Any] = ENCODERS[modality](artifact, build, InputLimits())
    return encoder


def vectors_of(
    model: Model, modality: Modality, rows: Sequence[Row], cache: Path | None
) -> tuple[list[int], Array]:
    """Which of the rows have a modality, and its vectors of these, float32 of (inputs, dim).

    Computed by the model's encoder, else read from the manifest's features.
    """
    encoder = model.encoders.get(modality)
    if encoder is None:
        dim = model.classifier.encoders[modality].dim
        places = [place for place, row in enumerate(rows) if modality in row.features]
        return places, features_of(rows, places, modality, dim)
    places = [place for place, row in enumerate(rows) if modality in row.inputs]
    return places, encoded(encoder, raw_inputs(rows, places, modality), cache)


class RawInputs(Sequence[Raw]):
    """The inputs at some places of the rows, each read when it is asked for and not kept.

    Asking raises TrainingError where the file can't be read.
    """

    def __init__(self, rows: Sequence[Row], places: Sequence[int], modality: Modality) -> None:
        self._rows = rows
        self._places = places
        self._modality = modality

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, number: int) -> Raw: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Raw]: ...

    def __getitem__(self, number: int | slice) -> Raw | Sequence[Raw]:
        if isinstance(number, slice):
            return RawInputs(self._rows, self._places[number], self._modality)
        row = self._rows[self._places[number]]
        with _named(row, row.inputs[self._modality]):
            return row.raw(self._modality)


@contextmanager
def _named(row: Row, file: str | Path) -> Iterator[None]:
    """Say which file of which line can't be read, and why."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TrainingError(f"line {row.line}: {file} can't be read: {reason}") from error


def raw_inputs(rows: Sequence[Row], places: Sequence[int], modality: Modality) -> RawInputs:
    """The inputs at some places of the rows, read when they are asked for."""
    return RawInputs(rows, places, modality)


def features_of(rows: Sequence[Row], places: Sequence[int], modality: Modality, dim: int) -> Array:
    """The manifest's embeddings of a modality at some places, float32 of shape (places, dim).

    Raises TrainingError for a file that can't be read or holds something else.
    """
    read = [_feature(rows[place], modality, dim) for place in places]
    return np.array(read, np.float32).reshape(len(read), dim)


def encoded(encoder: Encoder[Any], inputs: Sequence[Raw], cache: Path | None) -> Array:
    """The inputs' embeddings, float32 of shape (inputs, dim), kept in the folder `cache`."""
    try:
        return embed_cached(encoder, inputs, cache) if cache else embed(encoder, inputs)
    except InputError as error:
        where = "`sensemesh data check` names its line"
        raise TrainingError(f"{encoder.modality}: {error}; {where}") from error


def _feature(row: Row, modality: Modality, dim: int) -> Array:
    file = row.features[modality]
    with _named(row, file):
        vector = vector_of(file.read_bytes())
    if len(vector) != dim:
        raise TrainingError(f"line {row.line}: {file} does not hold {dim} finite numbers")
    return vector
