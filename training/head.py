"""Training of one fusion head on tables of embeddings, whose rows are joined by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import torch
from torch.nn import functional

from mesh.embedding import Modality
from services.fusion.model import ConcatFusion, FusionShape
from training.data import LABELS, SEED, draw_by_class
from training.golden import subsets

# Which modalities are present in each of `subsets()`: float32 of shape (7, modalities).
SUBSETS: Final = torch.tensor(
    [[modality in subset for modality in Modality] for subset in subsets()], dtype=torch.float32
)
TEMPERATURES: Final = torch.logspace(-0.7, 0.7, 141)
LEAST_DEVIATION: Final = 1e-6


@dataclass(frozen=True)
class Settings:
    """The recipe. Voices are few: much dropout keeps the head from learning them by heart."""

    width: int = 64
    hidden: int = 64
    # Of the embeddings of text, image and audio, and of the two layers behind.
    input_dropout: tuple[float, ...] = (0.1, 0.5, 0.8)
    dropout: float = 0.5
    steps: int = 500
    per_class: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2


@dataclass(frozen=True)
class Table:
    """One modality's embeddings, float32 (rows, dim), and their classes, int64 (rows,)."""

    vectors: np.ndarray
    labels: np.ndarray

    def draw(self, per_class: int, rng: np.random.Generator) -> torch.Tensor:
        """Embeddings of rows drawn uniformly over the classes, in the classes' order."""
        return torch.from_numpy(self.vectors[draw_by_class(self.labels, per_class, rng)])

    @classmethod
    def stacked(cls, tables: Sequence["Table"]) -> Self:
        """The rows of one table after those of another."""
        return cls(
            np.concatenate([table.vectors for table in tables]),
            np.concatenate([table.labels for table in tables]),
        )

    def where(self, rows: np.ndarray) -> "Table":
        """The rows of a mask."""
        return Table(self.vectors[rows], self.labels[rows])


Tables = Sequence[Table]


def join(tables: Tables, per_class: int, rng: np.random.Generator) -> torch.Tensor:
    """Examples joined by class, in the classes' order: (classes x per_class, sum of dims)."""
    return torch.cat([table.draw(per_class, rng) for table in tables], dim=1)


def labels_of(examples: torch.Tensor) -> torch.Tensor:
    """The classes of what `join` drew."""
    return torch.arange(len(LABELS)).repeat_interleave(len(examples) // len(LABELS))


def shape_of(settings: Settings) -> dict[str, Any]:
    """The fields of FusionShape that an artifact's `model` holds."""
    names = ("width", "hidden", "input_dropout", "dropout")
    return {name: getattr(settings, name) for name in names}


def new_head(tables: Tables, settings: Settings) -> ConcatFusion:
    """An untrained head that standardises by the tables' means and deviations."""
    dims = [table.vectors.shape[1] for table in tables]
    head = ConcatFusion(FusionShape(dims=dims, classes=len(LABELS), **shape_of(settings)))
    head.mean.copy_(torch.from_numpy(np.concatenate([table.vectors.mean(0) for table in tables])))
    deviation = np.concatenate([table.vectors.std(0) for table in tables])
    head.deviation.copy_(torch.from_numpy(deviation.clip(LEAST_DEVIATION)))
    return head


def train(tables: Tables, settings: Settings) -> ConcatFusion:
    """A trained head, its temperatures still at one.

    Each example of a batch keeps a random subset of its modalities, so one head serves them all.
    """
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    head = new_head(tables, settings)
    optimizer = torch.optim.AdamW(
        head.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    for _ in range(settings.steps):
        examples = join(tables, settings.per_class, rng)
        present = SUBSETS[torch.from_numpy(rng.integers(len(SUBSETS), size=len(examples)))]
        loss = functional.cross_entropy(head.logits(examples, present), labels_of(examples))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()


@torch.no_grad()
def subset_logits(head: ConcatFusion, examples: torch.Tensor) -> torch.Tensor:
    """The logits of each of SUBSETS: (7, examples, classes)."""
    return torch.stack([head.logits(examples, row.expand(len(examples), -1)) for row in SUBSETS])


def accuracies(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The accuracy of each of SUBSETS, from logits (7, examples, classes)."""
    return (logits.argmax(2) == labels).float().mean(1)


def set_temperatures(head: ConcatFusion, logits: torch.Tensor, labels: torch.Tensor) -> None:
    """Give each subset the temperature of the least cross-entropy on logits of held-out examples.

    `logits` are those of each of SUBSETS: (7, examples, classes).
    """
    for present, own in zip(SUBSETS, logits, strict=True):
        losses = torch.stack([functional.cross_entropy(own / t, labels) for t in TEMPERATURES])
        head.temperature[head.subset_of(present[None])] = TEMPERATURES[losses.argmin()]
