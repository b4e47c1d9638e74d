"""What an encoder learns from, in batches: the same ones for the same seed and epoch, always.

Inputs are read, augmented and preprocessed when they are due. All randomness of an input comes from
the seed, the epoch and its row, so that a run that was killed goes on as if it had not been.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mesh.embedding import Modality
from mesh.encoding import Encoder, Item
from mesh.errors import InputError
from training.augment import AUGMENT_ITEM, AUGMENT_RAW
from training.errors import TrainingError
from training.manifest import Row

# Batches of like lengths are found among so many batches' inputs, or among a quarter of all: else
# few inputs would make the same batches in each epoch, and the same ones be left over.
MIXED: Final = 50
QUARTERS: Final = 4

Batch = tuple[dict[str, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Examples(Dataset[tuple[Item, int]]):
    """Rows of one modality with their classes; `encoder` preprocesses as it does in serving."""

    rows: Sequence[Row]
    labels: Sequence[str]
    encoder: Encoder[Any]
    seed: int
    augments: bool = False

    @property
    def classes(self) -> np.ndarray:
        """The rows' classes as indices of `labels`, int64 of shape (rows,).

        Raises TrainingError for a row of another class.
        """
        number = {label: place for place, label in enumerate(self.labels)}
        if strange := [row for row in self.rows if row.label not in number]:
            row, known = strange[0], ", ".join(self.labels)
            raise TrainingError(f"line {row.line}: {row.label!r} is none of {known}")
        return np.array([number[row.label] for row in self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: tuple[int, int]) -> tuple[Item, int]:
        """The item and class of (epoch, row)."""
        epoch, number = place
        row, label = self.rows[number], self.labels.index(self.rows[number].label)
        if not self.augments:
            return self._item(row), label
        rng = np.random.default_rng([self.seed, epoch, number])
        return AUGMENT_ITEM[self.encoder.modality](self._item(row, rng), rng), label

    def _item(self, row: Row, rng: np.random.Generator | None = None) -> Item:
        """A row's input, changed by `rng` and preprocessed; TrainingError where it can't be."""
        modality = self.encoder.modality
        try:
            raw = row.raw(modality)
            item: Item = self.encoder.preprocess(AUGMENT_RAW[modality](raw, rng) if rng else raw)
        except (OSError, InputError) as error:
            raise TrainingError(f"line {row.line}: {modality}: {error}") from error
        return item

    def sizes(self) -> np.ndarray:
        """What each row costs the model; of pictures, which all cost the same, none is read."""
        if self.encoder.modality is Modality.IMAGE:
            return np.ones(len(self))
        return np.array([self._item(row).size for row in self.rows])


@dataclass(frozen=True)
class Plan:
    """Which rows make the batches of an epoch: shuffled, and in a batch of like sizes."""

    sizes: np.ndarray
    batch_size: int
    seed: int

    def __len__(self) -> int:
        """Batches in an epoch; what is left over waits for another one."""
        return max(1, len(self.sizes) // self.batch_size)

    def epoch(self, number: int) -> list[np.ndarray]:
        """The rows of each batch."""
        rng = np.random.default_rng([self.seed, number])
        rows = rng.permutation(len(self.sizes))
        step = min(MIXED, max(1, len(self) // QUARTERS)) * self.batch_size
        mixed = [rows[start : start + step] for start in range(0, len(rows), step)]
        by_size = np.concatenate([part[np.argsort(self.sizes[part])] for part in mixed])
        batches = np.split(by_size, range(self.batch_size, len(by_size), self.batch_size))
        whole = [batch for batch in batches if len(batch) == self.batch_size] or batches
        return [whole[place] for place in rng.permutation(len(whole))]


def loader(
    examples: Examples,
    batches: Sequence[np.ndarray],
    epoch: int,
    collate: Callable[[Sequence[Item]], dict[str, torch.Tensor]],
    workers: int = 0,
) -> Iterator[Batch]:
    """The batches' model inputs and classes, prepared by so many processes ahead."""

    def together(drawn: Sequence[tuple[Item, int]]) -> Batch:
        items, classes = zip(*drawn, strict=True)
        return collate(items), torch.tensor(classes)

    places = [[(epoch, int(row)) for row in batch] for batch in batches]
    return iter(
        DataLoader(
            examples,
            batch_sampler=places,
            collate_fn=together,
            num_workers=workers,
            # Else each epoch would draw from the generator that dropout draws from.
            generator=torch.Generator(),
        )
    )
