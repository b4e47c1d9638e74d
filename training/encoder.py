"""Train one modality's encoder, under a linear classifier that is thrown away, into its artifact.

    python -m training.encoder CONFIG MODALITY [--output models/NAME] [--state run/training]
    torchrun --nproc-per-node 2 -m training.encoder ...          # more devices or machines

The artifact holds the weights of the epoch with the best macro-F1 on dev. A run that was killed
goes on from its last checkpoint; on one CPU, in float32, to the very same weights.
"""

import argparse
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import set_seed
from safetensors.torch import load_file

from mesh.artifact import Artifact
from mesh.embedding import Modality
from training.artifacts import add_to_config, write_untrained, write_weights
from training.config import Fit, TrainConfig, read_config
from training.errors import told
from training.manifest import digest
from training.run import BEST, Run
from training.splits import read_with_splits
from training.task import Classifier, Task, load_trainable, task_of
from training.trained import raw_inputs
from training.weights import prepared


def run_name(untrained: Artifact, fit: Fit, task: Task) -> str:
    """The same for runs that would do the same: a hash of beginning, recipe, seed and examples.

    Raises TrainingError where a file can't be read.
    """
    name = hashlib.sha256(f"{untrained.version}{fit.model_dump_json()}{task.plan.seed}".encode())
    for examples in (task.train, task.dev):
        name.update(repr(examples.labels).encode())
        rows = examples.rows
        inputs = raw_inputs(rows, range(len(rows)), examples.encoder.modality)
        for row, raw in zip(rows, inputs, strict=True):
            name.update(f"{row.line} {row.label} {digest(raw)}\n".encode())
    return name.hexdigest()


def publish(finished: Path, folder: Path) -> None:
    """Put an artifact in the place of what `folder` held; until then that stays whole."""
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(finished, new)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def train_encoder(
    config: TrainConfig, modality: Modality, beside: Path, output: Path, state: Path
) -> float | None:
    """Make the artifact `output`/`modality`, but for its golden examples; the best dev macro-F1.

    `path:` sources are relative to `beside`. None where the config has no `fit` for the encoder:
    then the artifact is its base. Raises TrainingError.
    """
    section, state = config.encoders[modality], state / modality
    folder = state / "artifact"
    # Without being told, accelerate joins processes on GPUs only.
    processes = PartialState(cpu=not torch.cuda.is_available())
    # The seed of random weights; each process then draws its own, for dropout.
    set_seed(config.seed)
    if processes.is_main_process:
        write_untrained(folder, config.name, modality, section, beside)
    processes.wait_for_everyone()
    set_seed(config.seed + processes.process_index)
    if section.fit is None:
        if processes.is_main_process:
            publish(folder, output / modality)
        return None
    manifest = read_with_splits(config.manifest, config.seed)
    labels = config.labels or tuple(manifest.labels)
    encoder, network = load_trainable(folder)
    task = task_of(manifest, config, labels, encoder, section.fit)
    network = prepared(network, section.fit)
    classifier = Classifier(network, encoder.dim, len(labels), section.fit.dropout)
    name = run_name(Artifact.open(folder), section.fit, task)
    best = Run(classifier, task, section.fit, state).to_the_end(name)
    if processes.is_main_process:
        write_weights(folder, load_file(state / BEST))
        add_to_config(
            folder,
            training=section.fit.model_dump(mode="json"),
            data={"train": len(task.train), "dev": len(task.dev), "seed": config.seed},
        )
        publish(folder, output / modality)
    processes.wait_for_everyone()
    return best


def main(command_line: Sequence[str] | None = None) -> None:
    """Read the command line and the config, and train."""
    parser = argparse.ArgumentParser(description="Train one modality's encoder.")
    parser.add_argument("config", type=Path)
    parser.add_argument("modality", type=Modality, choices=list(Modality))
    parser.add_argument("--output", type=Path, help="the model's folder  [models/NAME]")
    parser.add_argument("--state", type=Path, help="checkpoints and logs  [run/training/NAME]")
    arguments = parser.parse_args(command_line)
    config = read_config(arguments.config)
    output = arguments.output or Path("models") / config.name
    state = arguments.state or Path("run/training") / config.name
    best = train_encoder(config, arguments.modality, arguments.config.parent, output, state)
    if PartialState().is_main_process:
        print("not trained: it has no `fit`" if best is None else f"best on dev: {best:.4f}")


if __name__ == "__main__":
    with told():
        main()
