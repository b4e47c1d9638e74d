"""What training an encoder is made of: network, classifier, examples, optimiser, dev score."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import nn

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.encoding import Encoder, Item
from mesh.engine import Engine
from mesh.settings import InputLimits
from training.batches import Examples, Plan, loader
from training.config import Fit, TrainConfig
from training.embed import ENCODERS
from training.errors import TrainingError
from training.manifest import Manifest
from training.splits import held_out

Collate = Callable[[Sequence[Item]], dict[str, torch.Tensor]]

# Of a dev batch, which needs no room for gradients.
DEV_BATCH: Final = 64
OPTIMIZERS: Final[Mapping[str, Callable[..., torch.optim.Optimizer]]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


class Classifier(nn.Module):
    """An encoder's network under dropout and one linear layer."""

    def __init__(self, network: nn.Module, dim: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.network = network
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, classes))

    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        """The encoder's inputs -> logits (items, classes)."""
        logits: torch.Tensor = self.head(self.norm(self.network(**inputs)))
        return logits


@dataclass(frozen=True)
class Task:
    """Everything that a run learns and is measured by."""

    train: Examples
    dev: Examples
    collate: Collate
    plan: Plan
    dev_batches: Sequence[np.ndarray]
    workers: int


def load_trainable(folder: Path) -> tuple[Encoder[Any], nn.Module]:
    """An artifact's encoder and its network.

    The encoder is the one that serves, but its engine computes nothing: so `forward` gives what
    would be the network's inputs, the collated batch.
    """
    artifact = Artifact.open(folder)
    networks: list[Any] = []

    def engine(make: Callable[[], Any], example: Any) -> Any:
        del example
        networks.append(make())
        return Engine(cast(Any, _as_tensors), networks[0].dim)

    with artifact.blamed():
        encoder = ENCODERS[Modality(artifact.config["modality"])](artifact, engine, InputLimits())
    return encoder, networks[0].requires_grad_(True)


def _as_tensors(inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(value) for name, value in inputs.items()}


def class_weights(classes: np.ndarray, count: int, balance: float) -> torch.Tensor:
    """Frequency to the power of -balance, 1 in the mean over the examples: (count,)."""
    frequency = np.bincount(classes, minlength=count) / len(classes)
    weights = frequency.clip(1 / len(classes)) ** -balance
    return torch.from_numpy(weights / (weights * frequency).sum()).float()


def optimizer_of(classifier: Classifier, fit: Fit) -> torch.optim.Optimizer:
    """Adam or AdamW; the new layers learn at a rate of their own, and no norm or bias decays."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, weight in classifier.named_parameters():
        if weight.requires_grad:
            kind = (name.startswith("network."), weight.ndim > 1)
            groups.setdefault(kind, []).append(weight)
    return OPTIMIZERS[fit.optimizer](
        [
            {
                "params": weights,
                "lr": fit.learning_rate if is_network else fit.head_learning_rate,
                "weight_decay": fit.weight_decay if decays else 0.0,
            }
            for (is_network, decays), weights in groups.items()
        ]
    )


@torch.no_grad()
def dev_score(classifier: nn.Module, task: Task, device: torch.device) -> float:
    """The macro-F1 on dev; every class counts the same."""
    classifier.eval()
    found, right = [], []
    for inputs, classes in loader(task.dev, task.dev_batches, 0, task.collate, task.workers):
        logits = classifier(**{name: tensor.to(device) for name, tensor in inputs.items()})
        found.append(logits.argmax(1).cpu())
        right.append(classes)
    return float(f1_score(torch.cat(right), torch.cat(found), average="macro", zero_division=0))


def task_of(
    manifest: Manifest, config: TrainConfig, labels: Sequence[str], encoder: Encoder[Any], fit: Fit
) -> Task:
    """The rows that have the encoder's modality; TrainingError where train or dev has none."""
    learned = manifest.split("train")
    hidden = held_out(learned, config.hold_out, config.seed)
    rows = {
        "train": [row for row in learned.having(encoder.modality) if row.line not in hidden],
        "dev": manifest.split("dev").having(encoder.modality),
    }
    for split, found in rows.items():
        if not found:
            raise TrainingError(f"{manifest.path}: no row of split {split} has {encoder.modality}")
    train = Examples(rows["train"], labels, encoder, config.seed, fit.augment)
    dev = Examples(rows["dev"], labels, encoder, config.seed)
    by_size = np.argsort(dev.sizes(), kind="stable")
    return Task(
        train,
        dev,
        collate=cast(Collate, encoder.forward),
        plan=Plan(train.sizes(), fit.batch_size, config.seed),
        dev_batches=np.split(by_size, range(DEV_BATCH, len(by_size), DEV_BATCH)),
        workers=fit.workers,
    )
