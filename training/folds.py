"""Score one modality by leaving out each group in turn, such as the speaker of recordings.

    python -m training.folds CONFIG MODALITY [--model models/NAME] [--cache FOLDER]

All of the manifest's rows that have a group are used, whatever their split. In each fold a head of
this modality alone is trained by the config's recipe on the others' rows, and scored on the group
that it never met. The encoder is the model's own: the figures are fair where it was not trained on
these rows.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from mesh.embedding import Modality
from training.config import FusionConfig, TrainConfig, read_config
from training.errors import TrainingError, told
from training.fusion import CACHE, Sources, encoders_of
from training.head import train_head
from training.joining import Column, by_row
from training.manifest import read_manifest
from training.pool import Pool, tried


class Fold(NamedTuple):
    """What a head makes of a group that it never met; the recall is the mean over its classes."""

    group: str
    examples: int
    accuracy: float
    mean_recall: float


@dataclass(frozen=True)
class Recordings:
    """All inputs of a modality, as they are and changed, of which each fold leaves out a group."""

    modality: Modality
    labels: Sequence[str]
    original: Column
    changed: Column

    def fold(self, group: str, fusion: FusionConfig, seed: int) -> Fold:
        """Train on the others, copies included; score on the group's originals."""
        others = self.changed.subset(np.flatnonzero(self.changed.groups != group))
        own = self.original.subset(np.flatnonzero(self.original.groups == group))
        pool = Pool({self.modality: others}, len(self.labels), "row", fusion.class_balance)
        head = train_head(fusion, pool, {}, seed)
        (examples,) = tried({self.modality: own}, self.labels, "row", per_class=0).values()
        found = head(examples.embeddings, examples.present).argmax(1).numpy()
        right = by_row({self.modality: own}).labels
        return Fold(
            group,
            len(right),
            accuracy_score(right, found),
            balanced_accuracy_score(right, found),
        )


def folds(config: TrainConfig, modality: Modality, model: Path, cache: Path) -> Iterator[Fold]:
    """A fold for each group; TrainingError where there are less than two."""
    manifest = read_manifest(config.manifest)
    rows = tuple(row for row in manifest.rows if modality in row.inputs and row.group)
    groups = sorted({row.group for row in rows})
    if len(groups) < 2:
        raise TrainingError(f"{manifest.path}: {modality} has no two groups to leave out in turn")
    labels = config.labels or tuple(manifest.labels)
    sources = Sources(config, labels, encoders_of(config, model), cache)
    recordings = Recordings(
        modality,
        labels,
        original=sources.column(rows, modality, rows, is_learned=False),
        changed=sources.column(rows, modality, rows, is_learned=True),
    )
    fusion = _alone(config, modality)
    for group in groups:
        yield recordings.fold(group, fusion, config.seed)


def _alone(config: TrainConfig, modality: Modality) -> FusionConfig:
    """The recipe for a head of one modality: of a dropout for each, its own."""
    model = dict(config.fusion.model)
    if isinstance(dropouts := model.get("input_dropout"), Sequence):
        model["input_dropout"] = dropouts[config.modalities.index(modality)]
    return config.fusion.model_copy(update={"model": model})


def main(command_line: Sequence[str] | None = None) -> None:
    """Read the command line, and print a line for each fold and their mean."""
    parser = argparse.ArgumentParser(description="Leave out each group of a modality in turn.")
    parser.add_argument("config", type=Path)
    parser.add_argument("modality", type=Modality, choices=list(Modality))
    parser.add_argument("--model", type=Path, help="its folder  [models/NAME]")
    parser.add_argument("--cache", type=Path, default=CACHE)
    arguments = parser.parse_args(command_line)
    config = read_config(arguments.config)
    model = arguments.model or Path("models") / config.name
    found = list(folds(config, arguments.modality, model, arguments.cache))
    print("| left out | inputs | accuracy | mean recall |\n|---|---|---|---|")
    for fold in found:
        print(f"| {fold.group} | {fold.examples} | {fold.accuracy:.3f} | {fold.mean_recall:.3f} |")
    accuracy, recall = (np.mean([fold[n] for fold in found]) for n in (2, 3))
    print(f"| mean | {sum(fold.examples for fold in found)} | {accuracy:.3f} | {recall:.3f} |")


if __name__ == "__main__":
    with told():
        main()
