"""How a model's scores fall as the inputs of one modality get worse."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from mesh.embedding import Modality
from mesh.encoding import Raw
from training.joining import SEED, Column, by_row, score_joined, stratified
from training.manifest import Row
from training.metrics import Estimate
from training.robustness import CORRUPTIONS, SEVERITIES, corrupt
from training.trained import Model, encoded, raw_inputs

T = TypeVar("T")


class Track(Protocol):
    """Tells somebody how far a loop is, as rich.progress.Progress.track does."""

    def __call__(self, sequence: Sequence[T], *, description: str) -> Iterable[T]:
        """The sequence's items."""


@dataclass(frozen=True, slots=True)
class Point:
    """The scores at one severity; `level` is in the curve's unit, None for inputs as they are."""

    severity: int
    level: float | None
    accuracy: Estimate
    macro_f1: Estimate


@dataclass(frozen=True, slots=True)
class Curve:
    """One modality alone under one kind of corruption, over so many examples."""

    modality: str
    kind: str
    unit: str
    examples: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Worsening:
    """Inputs of one modality, as they are and as a column, which get worse."""

    modality: Modality
    inputs: Sequence[Raw]
    column: Column
    cache: Path | None


def curves(
    model: Model,
    rows: Sequence[Row],
    columns: Mapping[Modality, Column],
    most: int,
    cache: Path | None,
    track: Track,
) -> tuple[Curve, ...]:
    """Every modality that has an encoder under every corruption, over at most so many inputs."""
    chosen = {m: columns[m].subset(stratified(columns[m].labels, most)) for m in model.encoders}
    worsening = [
        Worsening(modality, raw_inputs(rows, column.places.tolist(), modality), column, cache)
        for modality, column in chosen.items()
        if len(column.labels)
    ]
    kinds = [(inputs, kind) for inputs in worsening for kind in CORRUPTIONS[inputs.modality]]
    tracked = track(kinds, description="robustness")
    return tuple(_curve(model, inputs, kind) for inputs, kind in tracked)


def _curve(model: Model, inputs: Worsening, kind: str) -> Curve:
    points = tuple(_point(model, inputs, kind, severity) for severity in SEVERITIES)
    unit = CORRUPTIONS[inputs.modality][kind].unit
    return Curve(str(inputs.modality), kind, unit, len(inputs.inputs), points)


def _point(model: Model, inputs: Worsening, kind: str, severity: int) -> Point:
    column = _worse(model, inputs, kind, severity) if severity else inputs.column
    columns = {inputs.modality: column}
    scores = score_joined(model.classifier, columns, by_row(columns))
    levels = (None, *CORRUPTIONS[inputs.modality][kind].levels)
    return Point(severity, levels[severity], scores.accuracy, scores.macro_f1)


def _worse(model: Model, inputs: Worsening, kind: str, severity: int) -> Column:
    rng = np.random.default_rng([SEED, severity])
    changed = [corrupt(inputs.modality, kind, severity, raw, rng) for raw in inputs.inputs]
    vectors = encoded(model.encoders[inputs.modality], changed, inputs.cache)
    return replace(inputs.column, vectors=vectors)
