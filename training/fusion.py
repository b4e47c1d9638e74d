"""Train the fusion head on what the finished encoders compute, and write its artifact.

    python -m training.fusion CONFIG [--output models/NAME] [--samples samples] [--cache FOLDER]

The encoders' golden examples are written first, since the head is bound to the encoders' versions.
It learns from the training rows (where some are held out from the encoders, from these in the end),
and is chosen and calibrated on dev; `sensemesh evaluate` tells what it is worth elsewhere.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from mesh.artifact import Artifact
from mesh.classifying import Classifier
from services.fusion.classifier import FusionClassifier
from services.fusion.frame import Fusion, FusionShape
from services.fusion.model import FUSIONS
from training.config import FusionConfig, TrainConfig, read_config
from training.embed import engine
from training.errors import told
from training.golden import (
    SAMPLES,
    write_config,
    write_encoder_golden,
    write_fusion_golden,
    write_tensors,
)
from training.head import shape_entries, stored_weights, train_head
from training.pool import Columns, Pool, tried
from training.sources import Sources, encoders_of, known_of
from training.splits import read_with_splits

# Joined examples of each class that dev is made of.
DEV_PER_CLASS: Final = 200
CACHE: Final = Path("run/embeddings")
# What the shapes of all strategies have.
SHARED: Final = {field.name for field in fields(FusionShape)}


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


def trials_of(config: TrainConfig, model: Path, cache: Path) -> Trials:
    """The embeddings that the model's encoders compute of the manifest's train and dev rows.

    Raises TrainingError where there are none of some modality.
    """
    manifest = read_with_splits(config.manifest, config.seed)
    labels = config.labels or tuple(manifest.labels)
    sources = Sources(config, labels, encoders_of(config, model), cache)
    train, dev = (sources.columns(manifest, split) for split in ("train", "dev"))
    return Trials(config, labels, train, known_of(sources, manifest), dev)


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
