"""Train the fusion head on embeddings that the serving encoders computed, and write its artifact.

    python -m training.fuse --data PATH [--model models/emotion6] [--cache PATH]

The encoders' golden examples are written first: the head is bound to the encoders' versions. Then
each speaker is left out in turn, which is how the recipe was chosen and how the temperatures are;
the head that is written has heard them all, but none of the judged ones.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.engine import engine_builders
from mesh.settings import NodeSettings
from services.fusion.model import ConcatFusion
from training.augment import augmented
from training.data import JUDGED_PER_CLASS, LABELS, READERS, SEED, Labelled
from training.embed import embed_cached, load_encoders
from training.golden import (
    subsets,
    write_config,
    write_encoder_golden,
    write_fusion_golden,
    write_tensors,
)
from training.head import (
    Settings,
    Table,
    Tables,
    accuracies,
    join,
    labels_of,
    set_temperatures,
    shape_of,
    subset_logits,
    train,
)

VOICE_COPIES: Final = 8


@dataclass(frozen=True)
class Voices:
    """The voices' embeddings with who spoke, and whether a row is a recording or a changed copy."""

    table: Table
    speakers: np.ndarray
    is_recorded: np.ndarray


def leave_each_out(
    tables: Tables, held_out: Tables, voices: Voices, settings: Settings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (7, examples, classes) of heads that never heard the examples' speaker, and labels.

    `tables` are texts and faces, `held_out` others. A speaker without clips of some class is never
    left out.
    """
    logits, labels = [], []
    for speaker in sorted(set(voices.speakers)):
        is_out = voices.speakers == speaker
        heard, unheard = (
            voices.table.where(rows) for rows in (~is_out, is_out & voices.is_recorded)
        )
        if len(set(unheard.labels)) < len(LABELS):
            continue
        head = train([*tables, heard], settings)
        rng = np.random.default_rng(SEED)
        examples = join([*held_out, unheard], JUDGED_PER_CLASS, rng)
        logits.append(subset_logits(head, examples))
        labels.append(labels_of(examples))
        print(f"speaker {speaker} left out: {_scores(logits[-1], labels[-1])}", flush=True)
    return torch.cat(logits, dim=1), torch.cat(labels)


def _scores(logits: torch.Tensor, labels: torch.Tensor) -> str:
    found = zip(subsets(), accuracies(logits, labels), strict=True)
    return ", ".join(f"{'+'.join(subset)} {accuracy:.3f}" for subset, accuracy in found)


def write_artifact(
    head: ConcatFusion, model: Path, settings: Settings, rows: Mapping[str, int]
) -> Path:
    """Write the head as fusion's artifact, bound to the encoders' versions as they are now."""
    artifact = model / "fusion"
    artifact.mkdir(exist_ok=True)
    config = {
        "name": model.name,
        "architecture": "concat",
        "labels": LABELS,
        "encoders": {
            modality: {"version": Artifact.open(model / modality).version, "dim": dim}
            for modality, dim in zip(Modality, head.dims, strict=True)
        },
        "model": shape_of(settings),
        "data": {"sets": ["GoEmotions", "FER2013", "EmoDB"], "rows": rows, "seed": SEED},
        "training": asdict(settings),
    }
    write_config(artifact, config)
    weights = {name: tensor.half().numpy() for name, tensor in head.state_dict().items()}
    write_tensors(artifact / "model.safetensors", weights)
    return artifact


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the fusion head.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the three data sets")
    parser.add_argument("--model", type=Path, default=Path("models/emotion6"))
    parser.add_argument("--samples", type=Path, default=Path("samples"))
    parser.add_argument("--cache", type=Path, default=Path("run/embeddings"))
    parser.add_argument("--steps", type=int, default=Settings.steps)
    return parser.parse_args(arguments)


def main(command_line: Sequence[str] | None = None) -> None:
    """Golden examples, embeddings, cross-validation, training, artifact."""
    arguments, node = parse(command_line), NodeSettings()
    settings = Settings(steps=arguments.steps)
    engine, *_ = engine_builders(node)
    golden = {
        modality: write_encoder_golden(
            arguments.model / modality, modality, arguments.samples, engine
        )
        for modality in Modality
    }
    encoders = load_encoders(arguments.model, node)

    def embedded(labelled: Labelled, modality: Modality) -> Table:
        vectors = embed_cached(encoders[modality], labelled.inputs, arguments.cache)
        return Table(vectors, labelled.labels)

    texts, faces, held_out_texts, held_out_faces = (
        embedded(READERS[modality](arguments.data, part), modality)
        for part in ("train", "validation")
        for modality in (Modality.TEXT, Modality.IMAGE)
    )
    recorded = READERS[Modality.AUDIO](arguments.data, "train")
    copies = augmented(recorded, VOICE_COPIES, SEED)
    sources = recorded.sources + copies.sources
    voices = Voices(
        Table.stacked([embedded(recorded, Modality.AUDIO), embedded(copies, Modality.AUDIO)]),
        speakers=np.array([source[:2] for source in sources]),
        is_recorded=np.arange(len(sources)) < len(recorded.sources),
    )

    logits, labels = leave_each_out(
        [texts, faces], [held_out_texts, held_out_faces], voices, settings
    )
    print(f"all left out in turn: {_scores(logits, labels)}")
    head = train([texts, faces, voices.table], settings)
    set_temperatures(head, logits, labels)

    tables = (texts, faces, voices.table)
    rows = {m: len(table.labels) for m, table in zip(Modality, tables, strict=True)}
    artifact = write_artifact(head, arguments.model, settings, rows)
    write_fusion_golden(artifact, golden, engine)
    print(f"wrote {artifact}: {Artifact.open(artifact).version}")


if __name__ == "__main__":
    main()
