"""What a run needs and can be known to lack before anything is trained."""

from training.config import TrainConfig
from training.errors import TrainingError
from training.head import built
from training.manifest import Manifest
from training.trained import features_of


def require_ready(config: TrainConfig, manifest: Manifest) -> None:
    """Raise TrainingError where the head can't be built, or a modality has nothing to learn from.

    `manifest` has splits. The head is built with dimensions of no meaning: it is its keys and their
    values that are tried.
    """
    built(config.fusion, [1] * len(config.modalities), len(config.labels or manifest.labels))
    for split in ("train", "dev"):
        _require_inputs(config, manifest.split(split), split)


def _require_inputs(config: TrainConfig, part: Manifest, split: str) -> None:
    for modality in config.modalities:
        kind = "features" if modality in config.features else "inputs"
        places = [n for n, row in enumerate(part.rows) if modality in getattr(row, kind)]
        if not places:
            raise TrainingError(f"{part.path}: no row of split {split} has {modality} as {kind}")
        if modality in config.features:
            features_of(part.rows, places[:1], modality, config.features[modality].dim)
