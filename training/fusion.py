"""Train the fusion head on what the finished encoders compute, and write its artifact.

    python -m training.fusion CONFIG [--output models/NAME] [--samples samples] [--cache FOLDER]

The encoders' golden examples are written first, since the head is bound to the encoders' versions.
It learns from the training rows (where some are held out from the encoders, from these in the end),
and is chosen and calibrated on dev; `sensemesh evaluate` tells what it is worth elsewhere.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from mesh.artifact import Artifact
from mesh.classifying import Classifier
from mesh.embedding import Modality
from mesh.encoding import Encoder, Raw
from mesh.settings import InputLimits
from services.fusion.classifier import FusionClassifier
from services.fusion.frame import Fusion, FusionShape
from services.fusion.model import FUSIONS
from training.augment import augment_sound
from training.config import FusionConfig, TrainConfig, read_config
from training.embed import ENCODERS, engine
from training.errors import TrainingError, told
from training.golden import (
    SAMPLES,
    write_config,
    write_encoder_golden,
    write_fusion_golden,
    write_tensors,
)
from training.head import shape_entries, stored_weights, train_head
from training.joining import Column, column_of
from training.manifest import Manifest, Row
from training.pool import Columns, Pool, tried
from training.splits import held_out, read_with_splits
from training.trained import encoded, features_of, raw_inputs

# Joined examples of each class that dev is made of.
DEV_PER_CLASS: Final = 200
CACHE: Final = Path("run/embeddings")
# What the shapes of all strategies have.
SHARED: Final = {field.name for field in fields(FusionShape)}


@dataclass(frozen=True)
class Sources:
    """Where a head's columns come from. `cache` keeps the embeddings of each encoder's version."""

    config: TrainConfig
    labels: Sequence[str]
    encoders: Mapping[Modality, Encoder[Any]]
    cache: Path

    def columns(
        self,
        manifest: Manifest,
        split: str,
        with_known: bool = False,
        without: Modality | None = None,
    ) -> Columns:
        """Each modality's embeddings of a split but for one's; TrainingError where it has none.

        Of train, what encoders know by heart is left out unless asked for.
        """
        part, columns = manifest.split(split), {}
        hidden = held_out(part, self.config.hold_out, self.config.seed)
        for modality in self.config.modalities:
            if modality is without:
                continue
            is_known = split == "train" and not with_known and self._is_known_by_heart(modality)
            rows = [row for row in part.rows if not is_known or row.line in hidden]
            columns[modality] = self.column(part.rows, modality, rows, split == "train")
            if not len(columns[modality].labels):
                raise TrainingError(f"{manifest.path}: no row of split {split} has {modality}")
        return columns

    def column(
        self, rows: Sequence[Row], modality: Modality, chosen: Sequence[Row], is_learned: bool
    ) -> Column:
        """One modality's embeddings of the rows that are chosen; to learn from, copies too."""
        lines = {row.line for row in chosen}
        given = "features" if modality in self.config.features else "inputs"
        places = [
            place
            for place, row in enumerate(rows)
            if row.line in lines and modality in getattr(row, given)
        ]
        if modality in self.config.features:
            dim = self.config.features[modality].dim
            vectors = features_of(rows, places, modality, dim)
        else:
            inputs = raw_inputs(rows, places, modality)
            vectors = encoded(self.encoders[modality], inputs, self.cache)
            if is_learned and modality is Modality.AUDIO and self.config.fusion.recording_copies:
                copies = encoded(self.encoders[modality], self._copies(inputs), self.cache)
                vectors = np.concatenate([vectors, copies])
                # A copy is another input of its original's row.
                places = places * (1 + self.config.fusion.recording_copies)
        order = np.argsort(places, kind="stable")
        return column_of(rows, self.labels, [places[n] for n in order], vectors[order])

    def _is_known_by_heart(self, modality: Modality) -> bool:
        """Whether fusion must not learn from rows that encoders were trained on.

        Where a row is an example, it must not for any modality's sake.
        """
        config = self.config
        fits = [m for m, section in config.encoders.items() if section.fit]
        return bool(config.hold_out and fits) and (config.fusion.join == "row" or modality in fits)

    def _copies(self, recordings: Sequence[Raw]) -> list[Raw]:
        rng = np.random.default_rng(self.config.seed)
        copies = range(self.config.fusion.recording_copies)
        return [augment_sound(raw, rng) for _ in copies for raw in recordings]


@dataclass(frozen=True)
class Trials:
    """What every head of one model is trained and tried on; `known` may be nothing."""

    config: TrainConfig
    labels: Sequence[str]
    train: Columns
    known: Columns
    dev: Columns

    def head(self, fusion: FusionConfig) -> Fusion:
        """A head trained as `fusion` says, chosen and calibrated on dev."""
        dev = tried(self.dev, self.labels, fusion.join, DEV_PER_CLASS)
        pool = pool_of(self.train, fusion, self.labels)
        known = pool_of(self.known, fusion, self.labels) if self.known else None
        return train_head(fusion, pool, dev, self.config.seed, known)


def pool_of(columns: Columns, fusion: FusionConfig, labels: Sequence[str]) -> Pool:
    """Columns to draw from as the recipe says."""
    return Pool(columns, len(labels), fusion.join, fusion.class_balance)


def encoders_of(config: TrainConfig, model: Path) -> dict[Modality, Encoder[Any]]:
    """The model's encoders that the config has, as a node loads them."""
    return {
        modality: ENCODERS[modality](Artifact.open(model / modality), engine(), InputLimits())
        for modality in config.encoders
    }


def trials_of(config: TrainConfig, model: Path, cache: Path) -> Trials:
    """The embeddings that the model's encoders compute of the manifest's train and dev rows.

    Raises TrainingError where there are none of some modality.
    """
    manifest = read_with_splits(config.manifest, config.seed)
    labels = config.labels or tuple(manifest.labels)
    sources = Sources(config, labels, encoders_of(config, model), cache)
    train, dev = (sources.columns(manifest, split) for split in ("train", "dev"))
    return Trials(config, labels, train, known_of(sources, manifest), dev)


def known_of(sources: Sources, manifest: Manifest, without: Modality | None = None) -> Columns:
    """All of train, where the recipe first learns from that; else nothing."""
    if not sources.config.fusion.known_steps:
        return {}
    return sources.columns(manifest, "train", with_known=True, without=without)


def train_fusion(config: TrainConfig, output: Path, samples: Path, cache: Path) -> Path:
    """Make the artifact `output`/fusion of the finished encoders beside it; its folder.

    Raises TrainingError where the manifest does not hold what the config needs.
    """
    build = engine()
    golden = {
        modality: write_encoder_golden(output / modality, modality, samples, build)
        for modality in config.encoders
    }
    trials = trials_of(config, output, cache)
    artifact = output / "fusion"
    write_head(trials.head(config.fusion), config.fusion, trials, output, artifact)
    golden |= {modality: trials.dev[modality].vectors[:2] for modality in config.features}
    write_fusion_golden(artifact, {m: golden[m] for m in config.modalities}, build)
    return artifact


def compared(config: TrainConfig, model: Path, cache: Path) -> dict[str, Classifier]:
    """A head of each strategy over a trained model's encoders, by the strategies' names.

    On equal terms: the same examples and recipe, and of the config's `model` what all of them have.
    """
    build = engine()
    trials = trials_of(config, model, cache)
    shared = {key: v for key, v in config.fusion.model.items() if key in SHARED}
    heads: dict[str, Classifier] = {}
    with TemporaryDirectory() as folder:
        for strategy in FUSIONS:
            fusion = config.fusion.model_copy(update={"strategy": strategy, "model": shared})
            artifact = Path(folder) / strategy
            write_head(trials.head(fusion), fusion, trials, model, artifact)
            heads[strategy] = FusionClassifier.load(Artifact.open(artifact), build)
    return heads


def write_head(
    head: Fusion, fusion: FusionConfig, trials: Trials, model: Path, artifact: Path
) -> None:
    """Write a head's artifact, but for its golden examples, bound to the model's encoders."""
    config, train = trials.config, trials.train
    artifact.mkdir(parents=True, exist_ok=True)
    versions = {m: Artifact.open(model / m).version for m in config.encoders}
    versions |= {m: features.version for m, features in config.features.items()}
    dims = zip(train, head.dims, strict=True)
    write_config(
        artifact,
        {
            "name": config.name,
            "architecture": fusion.strategy,
            "labels": trials.labels,
            "join": fusion.join,
            "encoders": {m: {"version": versions[m], "dim": dim} for m, dim in dims},
            "model": shape_entries(head),
            "data": {m: len(column.labels) for m, column in train.items()} | {"seed": config.seed},
            "training": fusion.model_dump(mode="json"),
        },
    )
    write_tensors(artifact / "model.safetensors", stored_weights(head))


def main(command_line: Sequence[str] | None = None) -> None:
    """Read the command line and the config, and train."""
    parser = argparse.ArgumentParser(description="Train the fusion head.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--output", type=Path, help="the model's folder  [models/NAME]")
    parser.add_argument("--samples", type=Path, default=SAMPLES)
    parser.add_argument("--cache", type=Path, default=CACHE)
    arguments = parser.parse_args(command_line)
    config = read_config(arguments.config)
    output = arguments.output or Path("models") / config.name
    artifact = train_fusion(config, output, arguments.samples, arguments.cache)
    print(f"wrote {artifact}: {Artifact.open(artifact).version}")


if __name__ == "__main__":
    with told():
        main()
