"""Score one modality by leaving out each group in turn, such as the speaker of recordings.

    python -m training.folds CONFIG MODALITY [--model models/NAME] [--cache FOLDER] [--fused]

All of the manifest's rows that have a group are used, whatever their split. In each fold a head is
trained by the config's recipe on the others' rows, and scored on the group that it never met: a
head of this modality alone, or with `--fused` of all, scored on examples joined by class with split
test's other inputs. The encoders are the model's own: the figures are fair where they were not
trained on these rows.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from mesh.embedding import Modality
from training.config import FusionConfig, TrainConfig, read_config
from training.errors import TrainingError, told
from training.fusion import CACHE, DEV_PER_CLASS, pool_of
from training.head import train_head
from training.joining import Column
from training.manifest import read_manifest
from training.pool import Columns, tried
from training.sources import Sources, encoders_of, known_of
from training.splits import read_with_splits


class Fold(NamedTuple):
    """What a head makes of a group that it never met.

    The recall is the mean over the classes, as F1 is. `examples` are the group's own inputs.
    """

    group: str
    examples: int
    accuracy: float
    mean_recall: float
    macro_f1: float


@dataclass(frozen=True)
class Recordings:
    """All inputs of a modality, as they are and changed, of which each fold leaves out a group.

    `train` and `known` are what the head learns from of the other modalities, as in Trials, and
    `met` is what it is tried on.
    """

    modality: Modality
    labels: Sequence[str]
    original: Column
    changed: Column
    train: Columns = field(default_factory=dict)
    known: Columns = field(default_factory=dict)
    met: Columns = field(default_factory=dict)

    @property
    def groups(self) -> list[str]:
        """What can be left out. To be joined by class, a group must have all classes."""
        needed = len(self.labels) if self.met else 1
        groups = sorted(set(self.original.groups))
        return [group for group in groups if len(set(self._own(group).labels)) >= needed]

    def fold(self, group: str, fusion: FusionConfig, seed: int) -> Fold:
        """Train on the others, copies included; score on the group's originals."""
        others = self.changed.subset(np.flatnonzero(self.changed.groups != group))
        own = self._with(self._own(group), self.met)
        pool = pool_of(self._with(others, self.train), fusion, self.labels)
        known = pool_of(self._with(others, self.known), fusion, self.labels)
        head = train_head(fusion, pool, {}, seed, known if self.known else None)
        join = "class" if self.met else "row"
        examples = tried(own, self.labels, join, DEV_PER_CLASS)[tuple(own)]
        found = head(examples.embeddings, examples.present).argmax(1).numpy()
        right = examples.classes.numpy()
        return Fold(
            group,
            len(own[self.modality].labels),
            accuracy_score(right, found),
            balanced_accuracy_score(right, found),
            f1_score(right, found, average="macro"),
        )

    def _own(self, group: str) -> Column:
        return self.original.subset(np.flatnonzero(self.original.groups == group))

    def _with(self, own: Column, others: Columns) -> Columns:
        """All modalities' columns, in the order of Modality."""
        columns = {**others, self.modality: own}
        return {modality: columns[modality] for modality in Modality if modality in columns}


def folds(
    config: TrainConfig, modality: Modality, model: Path, cache: Path, is_fused: bool = False
) -> Iterator[Fold]:
    """A fold for each group; TrainingError where there are less than two."""
    if is_fused and config.fusion.join != "class":
        raise TrainingError("--fused is for examples that are joined by class, not for rows")
    manifest = read_manifest(config.manifest)
    rows = tuple(row for row in manifest.rows if modality in row.inputs and row.group)
    if len({row.group for row in rows}) < 2:
        raise TrainingError(f"{manifest.path}: {modality} has no two groups to leave out in turn")
    labels = config.labels or tuple(manifest.labels)
    sources = Sources(config, labels, encoders_of(config, model), cache)
    recordings = Recordings(
        modality,
        labels,
        original=sources.column(rows, modality, rows, is_learned=False),
        changed=sources.column(rows, modality, rows, is_learned=True),
    )
    if is_fused:
        recordings = _beside_others(recordings, sources)
    fusion = config.fusion if is_fused else _alone(config, modality)
    for group in recordings.groups:
        yield recordings.fold(group, fusion, config.seed)


def _beside_others(recordings: Recordings, sources: Sources) -> Recordings:
    """The same with what the manifest's splits have of the other modalities."""
    manifest = read_with_splits(sources.config.manifest, sources.config.seed)
    return replace(
        recordings,
        train=sources.columns(manifest, "train", without=recordings.modality),
        known=known_of(sources, manifest, without=recordings.modality),
        met=sources.columns(manifest, "test", without=recordings.modality),
    )


def _alone(config: TrainConfig, modality: Modality) -> FusionConfig:
    """The recipe for a head of one modality: of a dropout for each, its own."""
    model = dict(config.fusion.model)
    if isinstance(dropouts := model.get("input_dropout"), Sequence):
        model["input_dropout"] = dropouts[config.modalities.index(modality)]
    return config.fusion.model_copy(update={"model": model, "join": "row", "known_steps": 0})


def main(command_line: Sequence[str] | None = None) -> None:
    """Read the command line, and print a line for each fold and their mean."""
    parser = argparse.ArgumentParser(description="Leave out each group of a modality in turn.")
    parser.add_argument("config", type=Path)
    parser.add_argument("modality", type=Modality, choices=list(Modality))
    parser.add_argument("--model", type=Path, help="its folder  [models/NAME]")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--fused", action="store_true", help="score all modalities together")
    arguments = parser.parse_args(command_line)
    config = read_config(arguments.config)
    model = arguments.model or Path("models") / config.name
    found = list(folds(config, arguments.modality, model, arguments.cache, arguments.fused))
    print("| left out | inputs | accuracy | mean recall | macro-F1 |\n|---|---|---|---|---|")
    for fold in found:
        print(_line(fold.group, fold.examples, fold[2:]))
    examples = sum(fold.examples for fold in found)
    print(_line("mean", examples, np.mean([fold[2:] for fold in found], axis=0)))


def _line(name: str, examples: int, scores: Iterable[float]) -> str:
    return f"| {name} | {examples} | " + " | ".join(f"{score:.3f}" for score in scores) + " |"


if __name__ == "__main__":
    with told():
        main()
