"""What a fusion head learns from and is tried on: inputs' embeddings, drawn into examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch

from mesh.embedding import Modality
from training.golden import subsets
from training.joining import Array, Column, by_class, by_row, draw

Columns = Mapping[Modality, Column]


class Examples(NamedTuple):
    """Examples as a head takes them.

    Embeddings side by side, float32 (examples, sum of dims), zeros where one is missing; what is
    there, float32 (examples, modalities); and the classes, int64 (examples,).
    """

    embeddings: torch.Tensor
    present: torch.Tensor
    classes: torch.Tensor


@dataclass(frozen=True)
class Pool:
    """Draws training examples: rows as they are, or rows of one class joined.

    Rows of a class are drawn as often as it is frequent to the power of 1 - `balance`. Joined
    examples are uniform over the classes, and only rows of one modality have frequencies.
    """

    columns: Columns
    classes: int
    join: str
    balance: float = 0.0

    def draw(self, size: int, rng: np.random.Generator) -> Examples:
        """So many examples; joined ones as many of each class."""
        drawn = self._by_class if self.join == "class" else self._by_row
        return drawn(size, rng)

    def log_prior(self, subset: tuple[Modality, ...]) -> Array:
        """How much more often each class is met with these modalities than it is drawn, as a log.

        (classes,), 0 for a class that is met nowhere, and for joined examples of several.
        """
        if self.join == "class" and len(subset) > 1:
            return np.zeros(self.classes)
        rows = by_row({modality: self.columns[modality] for modality in subset}).labels
        counts = np.bincount(rows, minlength=self.classes)
        balance = 1.0 if self.join == "class" else self.balance
        log = np.log(counts.clip(1) / max(1, len(rows))) * balance
        return np.where(counts > 0, log - log[counts > 0].max(initial=-np.inf), 0.0)

    def _by_class(self, size: int, rng: np.random.Generator) -> Examples:
        each = max(1, size // self.classes)
        inputs = {
            modality: np.concatenate(
                [_some(column.labels == number, each, rng) for number in range(self.classes)]
            )
            for modality, column in self.columns.items()
        }
        return _gathered(self.columns, inputs, np.arange(self.classes).repeat(each))

    def _by_row(self, size: int, rng: np.random.Generator) -> Examples:
        places = reduce(np.union1d, [column.places for column in self.columns.values()])
        labels = np.empty(places.max() + 1, int)
        for column in self.columns.values():
            labels[column.places] = column.labels
        frequency = np.bincount(labels[places], minlength=self.classes) / len(places)
        weights = frequency[labels[places]] ** -self.balance
        chosen = rng.choice(places, size, p=weights / weights.sum())
        inputs = {m: _numbers(column.places, chosen, rng) for m, column in self.columns.items()}
        return _gathered(self.columns, inputs, labels[chosen])


def tried(
    columns: Columns, labels: Sequence[str], join: str, per_class: int
) -> dict[tuple[Modality, ...], Examples]:
    """Examples to try a head on, for each subset of the modalities that some have all of.

    Several are joined by class as `sensemesh evaluate` joins them; one comes as it is.
    """
    drawn = draw(columns, labels, per_class) if join == "class" else {}
    found = {}
    for subset in subsets(columns):
        own = {modality: columns[modality] for modality in subset}
        # Rows of one modality are met as they are.
        joined = by_class(own, drawn) if drawn and len(subset) > 1 else by_row(own)
        missing = np.full(len(joined.labels), -1)
        inputs = {modality: joined.inputs.get(modality, missing) for modality in columns}
        if len(joined.labels):
            found[subset] = _gathered(columns, inputs, joined.labels)
    return found


def _some(is_of: Array, count: int, rng: np.random.Generator) -> Array:
    """Numbers of so many inputs among those that a mask names; -1 where it names none."""
    of_class = np.flatnonzero(is_of)
    return rng.choice(of_class, count) if len(of_class) else np.full(count, -1)


def _numbers(places: Array, wanted: Array, rng: np.random.Generator) -> Array:
    """The wanted places' numbers among `places`, which ascend; -1 where one isn't there.

    Of a place that is there several times, as with copies of a recording, any of them.
    """
    first, end = (np.searchsorted(places, wanted, side) for side in ("left", "right"))
    drawn = first + (rng.random(len(wanted)) * (end - first)).astype(int)
    return np.where(end > first, drawn, -1)


def _gathered(columns: Columns, inputs: Mapping[Modality, Array], classes: Array) -> Examples:
    present = np.stack([inputs[modality] >= 0 for modality in columns], axis=1)
    parts = [
        column.vectors[inputs[modality]] * present[:, [number]]
        for number, (modality, column) in enumerate(columns.items())
    ]
    return Examples(
        torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32)),
        torch.from_numpy(present.astype(np.float32)),
        torch.from_numpy(classes),
    )
