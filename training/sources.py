"""Where a head's columns come from: a manifest's rows, through the finished encoders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.encoding import Encoder, Raw
from mesh.settings import InputLimits
from training.augment import augment_sound
from training.config import TrainConfig
from training.embed import ENCODERS, engine
from training.errors import TrainingError
from training.joining import Column, column_of
from training.manifest import Manifest, Row
from training.pool import Columns
from training.splits import held_out
from training.trained import encoded, features_of, raw_inputs


@dataclass(frozen=True)
class Sources:
    """What columns are made with. `cache` keeps the embeddings of each encoder's version."""

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


def encoders_of(config: TrainConfig, model: Path) -> dict[Modality, Encoder[Any]]:
    """The model's encoders that the config has, as a node loads them."""
    return {
        modality: ENCODERS[modality](Artifact.open(model / modality), engine(), InputLimits())
        for modality in config.encoders
    }


def known_of(sources: Sources, manifest: Manifest, without: Modality | None = None) -> Columns:
    """All of train, where the recipe first learns from that; else nothing."""
    if not sources.config.fusion.known_steps:
        return {}
    return sources.columns(manifest, "train", with_known=True, without=without)
