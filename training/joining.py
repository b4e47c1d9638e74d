"""What a score is computed over: one split's embeddings, and how they join into examples.

By row, where a row of the manifest holds several modalities of one example. By class, where each
row holds one: an example is then a text, a picture and a sound of one class, drawn from their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mesh.classifying import Classifier, Example
from mesh.embedding import Modality
from training.errors import TrainingError
from training.manifest import Row
from training.metrics import Scores, score

SEED: Final = 0
# Examples classified at a time.
CHUNK: Final = 1024
SAID_OF_CLASS_JOINS: Final = (
    "The parts of an example have only their class in common, which flatters fusion."
)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Column:
    """One modality of a split: who has it, and what its encoder makes of it.

    `places` are rows of the split, ascending, of shape (inputs,), as are `labels` (indices of the
    model's classes) and `groups`; `vectors` is float32 of shape (inputs, dim). An input without a
    group is one of its own.
    """

    places: Array
    labels: Array
    groups: Array
    vectors: Array

    def subset(self, inputs: Array) -> "Column":
        """Some of the inputs, by their numbers."""
        return Column(
            self.places[inputs], self.labels[inputs], self.groups[inputs], self.vectors[inputs]
        )


@dataclass(frozen=True)
class Joined:
    """Examples: each modality's inputs in its column, and the classes and groups, (examples,)."""

    inputs: Mapping[Modality, Array]
    labels: Array
    groups: Array

    def vectors(self, columns: Mapping[Modality, Column]) -> list[Example]:
        """The examples as a classifier takes them."""
        parts = {m: columns[m].vectors[inputs] for m, inputs in self.inputs.items()}
        return [
            {modality: vectors[number] for modality, vectors in parts.items()}
            for number in range(len(self.labels))
        ]


def column_of(
    rows: Sequence[Row], labels: Sequence[str], places: Sequence[int], vectors: Array
) -> Column:
    """The column of those rows whose places are given, with their vectors.

    Where all are of one group, its inputs are told apart instead: one speaker alone can't tell what
    another would have given, but that is no reason to count a clip twice.
    """
    chosen = [rows[place] for place in places]
    if strange := [row for row in chosen if row.label not in labels]:
        row = strange[0]
        raise TrainingError(f"line {row.line}: {row.label!r} is none of {', '.join(labels)}")
    alone = [f"\0{row.line}" for row in chosen]
    groups = [row.group or own for row, own in zip(chosen, alone, strict=True)]
    return Column(
        np.array(places, int),
        np.array([labels.index(row.label) for row in chosen], int),
        np.array(groups if len(set(groups)) > 1 else alone, str),
        vectors,
    )


def by_row(columns: Mapping[Modality, Column]) -> Joined:
    """The rows that have all of these modalities; may be none."""
    places = reduce(np.intersect1d, [column.places for column in columns.values()])
    inputs = {m: np.searchsorted(column.places, places) for m, column in columns.items()}
    modality, column = next(iter(columns.items()))
    return Joined(inputs, column.labels[inputs[modality]], column.groups[inputs[modality]])


def by_class(columns: Mapping[Modality, Column], drawn: Mapping[Modality, Array]) -> Joined:
    """What `draw` drew, of these modalities.

    The groups are those of the modality that has the fewest: two speakers limit what many examples
    say, however many texts they are joined with.
    """
    inputs = {modality: drawn[modality] for modality in columns}
    groups = [column.groups[inputs[modality]] for modality, column in columns.items()]
    modality, column = next(iter(columns.items()))
    fewest = min(groups, key=lambda group: len(set(group)))
    return Joined(inputs, column.labels[inputs[modality]], fewest)


def draw(
    columns: Mapping[Modality, Column], labels: Sequence[str], per_class: int
) -> dict[Modality, Array]:
    """Inputs drawn with replacement, `per_class` of class 0, then as many of class 1, ...

    One generator serves the modalities in their order. Raises TrainingError where a class has none.
    """
    rng, drawn = np.random.default_rng(SEED), {}
    for modality, column in columns.items():
        if missing := [labels[n] for n in range(len(labels)) if n not in column.labels]:
            raise TrainingError(f"no {modality} of the class {missing[0]!r} to join examples from")
        of_class = [np.flatnonzero(column.labels == number) for number in range(len(labels))]
        drawn[modality] = np.concatenate([rng.choice(rows, per_class) for rows in of_class])
    return drawn


def stratified(labels: Array, most: int) -> Array:
    """At most so many of the inputs, ascending, the classes as frequent among them as in all."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        rank[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.sort(np.argsort(rank, kind="stable")[:most])


def score_joined(head: Classifier, columns: Mapping[Modality, Column], examples: Joined) -> Scores:
    """What a head makes of the examples."""
    vectors = examples.vectors(columns)
    starts = range(0, len(vectors), CHUNK)
    probabilities = np.concatenate([head.classify(vectors[s : s + CHUNK]) for s in starts])
    return score(probabilities, examples.labels, head.labels, examples.groups, SEED)
