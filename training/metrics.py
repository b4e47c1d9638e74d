"""Scores of predicted probabilities, each headline figure with a confidence interval.

Pure functions over arrays. What is averaged over classes is averaged over those that the examples
have: a class that can't be met in them says nothing about the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

# Of the expected calibration error (Naeini et al. 2015): equally wide, over confidences of 0 to 1.
BINS: Final = 15
RESAMPLES: Final = 1000
PERCENTILES: Final = (2.5, 97.5)

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, and the interval that 95 % of the bootstrap's resamples fell into."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One class against all others. `support` counts its examples."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Bin:
    """The examples whose confidence is in (low, high], with their mean confidence and accuracy.

    Both are None where there are none.
    """

    low: float
    high: float
    confidence: float | None
    accuracy: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Scores:
    """How well some examples were classified.

    `clusters` is how many groups of examples the bootstrap drew from: what of one group belongs
    together, as all recordings of one speaker do. `confusion` has a row for each class that
    examples are of, and a column for each that they were taken for.
    """

    examples: int
    clusters: int
    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_precision: Estimate
    macro_recall: Estimate
    macro_f1: Estimate
    ece: Estimate
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    bins: tuple[Bin, ...]


def score(
    probabilities: Array,
    labels: Array,
    classes: Sequence[str],
    groups: Array | None = None,
    seed: int = 0,
) -> Scores:
    """Score probabilities (examples, classes) against labels (examples,), indices of `classes`.

    With `groups` (examples,) whole groups are resampled, not examples: the interval then says what
    other groups would have given. One group alone can't say that, and its examples are resampled.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1).astype(float)
    bins = _bins(confidence, predicted == labels)
    values = _headline(labels, predicted, bins)
    table = _clustered(_table(labels, predicted, confidence, len(classes)), groups)
    ranges = _intervals(table, len(classes), seed)
    return Scores(
        examples=len(labels),
        clusters=len(table),
        **{name: Estimate(value, *ranges[name]) for name, value in values.items()},
        classes=_per_class(labels, predicted, classes),
        confusion=_confusion(labels, predicted, len(classes)),
        bins=bins,
    )


def _headline(labels: Array, predicted: Array, bins: Sequence[Bin]) -> dict[str, float]:
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=np.unique(labels), average="macro", zero_division=0
    )
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "balanced_accuracy": float(recall),  # This is its definition.
        "macro_precision": float(precision),
        "macro_recall": float(recall),
        "macro_f1": float(f1),
        "ece": _calibration_error(bins),
    }


def _per_class(labels: Array, predicted: Array, classes: Sequence[str]) -> tuple[ClassScores, ...]:
    rows = precision_recall_fscore_support(
        labels, predicted, labels=range(len(classes)), zero_division=0
    )
    return tuple(
        ClassScores(label, float(precision), float(recall), float(f1), int(support))
        for label, precision, recall, f1, support in zip(classes, *rows, strict=True)
    )


def _confusion(labels: Array, predicted: Array, classes: int) -> tuple[tuple[int, ...], ...]:
    rows = confusion_matrix(labels, predicted, labels=range(classes)).tolist()
    return tuple(tuple(row) for row in rows)


def _bins(confidence: Floats, is_right: Array) -> tuple[Bin, ...]:
    edges, places = np.linspace(0, 1, BINS + 1), _bin_of(confidence)
    return tuple(
        _bin(float(low), float(high), confidence[places == number], is_right[places == number])
        for number, (low, high) in enumerate(pairwise(edges))
    )


def _bin(low: float, high: float, confidence: Floats, is_right: Array) -> Bin:
    if not len(confidence):
        return Bin(low, high, None, None, 0)
    return Bin(low, high, float(confidence.mean()), float(is_right.mean()), len(confidence))


def _bin_of(confidence: Floats) -> Array:
    """Each example's bin; a confidence on an edge belongs to the lower one."""
    return np.digitize(confidence, np.linspace(0, 1, BINS + 1)[1:-1], right=True)


def _calibration_error(bins: Sequence[Bin]) -> float:
    """The mean distance of confidence and accuracy over the bins, weighted by their examples."""
    gaps = [
        bin.count * abs(bin.confidence - bin.accuracy)
        for bin in bins
        if bin.confidence is not None and bin.accuracy is not None
    ]
    return sum(gaps) / sum(bin.count for bin in bins)


def _table(labels: Array, predicted: Array, confidence: Floats, classes: int) -> Floats:
    """What each example adds to the sums that all figures follow from.

    For each class whether it was hit, was there, and was said; for each bin confidence less
    success. Of shape (examples, 3 classes + bins).
    """
    is_right = labels == predicted
    there, said = np.eye(classes)[labels], np.eye(classes)[predicted]
    gaps = np.eye(BINS)[_bin_of(confidence)] * (confidence - is_right)[:, None]
    return np.hstack([there * is_right[:, None], there, said, gaps])


def _clustered(table: Floats, groups: Array | None) -> Floats:
    """The table with a row for each group instead of each example, where there are some."""
    if groups is None:
        return table
    names, numbers = np.unique(groups, return_inverse=True)
    if len(names) == 1:
        return table
    clusters = np.zeros((len(names), table.shape[1]))
    np.add.at(clusters, numbers, table)
    return clusters


def _intervals(table: Floats, classes: int, seed: int) -> Mapping[str, tuple[float, float]]:
    """Each figure's percentiles over resamples of the table's rows, with replacement.

    scikit-learn would take a minute for what is here one product of matrices a resample.
    """
    rng, rows = np.random.default_rng(seed), len(table)
    counts = (np.bincount(rng.integers(rows, size=rows), minlength=rows) for _ in range(RESAMPLES))
    figures = _figures(np.stack([count @ table for count in counts]), classes)
    ranges = {name: np.percentile(values, PERCENTILES) for name, values in figures.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ranges.items()}


def _figures(sums: Floats, classes: int) -> dict[str, Floats]:
    """The headline figures (resamples,) of the table's sums (resamples, 3 classes + bins)."""
    hit, there, said, gaps = np.split(sums, [classes, 2 * classes, 3 * classes], axis=1)
    recall = _mean_over_classes(hit, there, there)
    return {
        "accuracy": hit.sum(axis=1) / there.sum(axis=1),
        "balanced_accuracy": recall,
        "macro_precision": _mean_over_classes(hit, said, there),
        "macro_recall": recall,
        "macro_f1": _mean_over_classes(2 * hit, there + said, there),
        "ece": np.abs(gaps).sum(axis=1) / there.sum(axis=1),
    }


def _mean_over_classes(part: Floats, whole: Floats, there: Floats) -> Floats:
    """The mean of part / whole over the classes that are there; nothing of nothing is nothing."""
    ratios: Floats = part / np.maximum(whole, 1)
    mean: Floats = (ratios * (there > 0)).sum(axis=1) / (there > 0).sum(axis=1)
    return mean
