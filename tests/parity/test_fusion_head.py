"""Fusion heads: what training computes is what serving answers."""

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import torch

from mesh.artifact import Artifact
from mesh.classifying import Example
from mesh.embedding import Modality
from mesh.engine import EngineBuilder
from mesh.torch_engine import torch_engine
from services.fusion.classifier import FusionClassifier
from services.fusion.frame import Fusion
from services.fusion.model import FUSIONS
from tests.training_parts import column
from training.config import FusionConfig
from training.golden import subsets, write_config, write_tensors
from training.head import shape_entries, stored_weights, train_head
from training.pool import Columns, Examples, Pool, tried

DEFAULT: Final = Artifact.open(Path(__file__).parents[2] / "models" / "emotion6" / "fusion")
ENGINE: EngineBuilder = partial(torch_engine, device="cpu", dtype=torch.float32)
LABELS: Final = ("anger", "joy", "sadness")
DIMS: Final = dict(zip(Modality, (4, 3, 5), strict=True))


@pytest.fixture(scope="module")
def classifier() -> FusionClassifier:
    """The default head as a node loads it."""
    return FusionClassifier.load(DEFAULT, ENGINE)


def every_subset(classifier: FusionClassifier, seed: int) -> list[Example]:
    """Random embeddings, in all seven subsets of modalities."""
    rng = np.random.default_rng(seed)
    vectors = {
        modality: rng.normal(size=encoder.dim).astype(np.float32)
        for modality, encoder in classifier.encoders.items()
    }
    return [{modality: vectors[modality] for modality in subset} for subset in subsets(vectors)]


def head_of(artifact: Artifact) -> Fusion:
    """An artifact's head as training has it."""
    config = artifact.config
    dims = [encoder["dim"] for encoder in config["encoders"].values()]
    shape = {"dims": dims, "classes": len(config["labels"]), **config["model"]}
    head = FUSIONS[config["architecture"]](shape)
    head.load_state_dict(artifact.weights())
    return head.eval().requires_grad_(False)


@pytest.mark.parametrize("seed", range(3))
def test_serving_answers_what_the_logits_say_once_calibrated(
    classifier: FusionClassifier, seed: int
) -> None:
    """Those that training's loss takes, by each subset's temperature and prior."""
    examples, head = every_subset(classifier, seed), head_of(DEFAULT)
    whole = torch.from_numpy(np.concatenate([*examples[-1].values()])).expand(7, -1)
    present = torch.tensor([[float(m in one) for m in classifier.encoders] for one in examples])
    places = [sum(2**n for n, is_there in enumerate(mask) if is_there) for mask in present]

    logits = head.logits(whole, present) / head.temperature[places, None]

    expected = torch.softmax(logits + head.log_prior[places], dim=1).numpy()
    assert classifier.classify(examples) == pytest.approx(expected, abs=1e-6)


def test_a_batch_equals_one_by_one(classifier: FusionClassifier) -> None:
    """Whatever subsets the neighbours have."""
    examples = [example for seed in range(3) for example in every_subset(classifier, seed)]

    together = classifier.classify(examples)

    alone = np.concatenate([classifier.classify([example]) for example in examples])
    assert together == pytest.approx(alone, abs=1e-6)


def test_half_precision_gives_nearly_the_same_probabilities(classifier: FusionClassifier) -> None:
    """bfloat16 stays within a few hundredths."""
    half = FusionClassifier.load(DEFAULT, partial(torch_engine, device="cpu", dtype=torch.bfloat16))
    examples = every_subset(classifier, seed=0)

    assert half.classify(examples) == pytest.approx(classifier.classify(examples), abs=0.05)


@pytest.fixture(scope="module")
def columns() -> Columns:
    """Rows of which each has two modalities of three."""
    rng, lacks = np.random.default_rng(0), np.arange(60) % 3
    labels = rng.integers(3, size=60)
    return {
        modality: column(
            labels[lacks != number].tolist(),
            np.flatnonzero(lacks != number).tolist(),
            rng.normal(size=(40, dim)) + labels[lacks != number, None],
        )
        for number, (modality, dim) in enumerate(DIMS.items())
    }


def parts_of(examples: Examples) -> list[Example]:
    """Training's examples as a caller sends them: only what is present."""
    split = torch.split(examples.embeddings, [*DIMS.values()], dim=1)
    vectors = dict(zip(DIMS, split, strict=True))
    return [
        {m: vectors[m][n].numpy() for m, there in zip(DIMS, mask, strict=True) if there}
        for n, mask in enumerate(examples.present)
    ]


@pytest.mark.parametrize("join", ["row", "class"])
@pytest.mark.parametrize("strategy", FUSIONS)
def test_what_was_trained_is_what_is_served(
    tmp_path: Path, columns: Columns, strategy: str, join: str
) -> None:
    """For a head of each strategy, on every subset that it was tried on; but for half precision."""
    model = {"width": 8, "hidden": 8}
    config = FusionConfig.model_validate(
        {"strategy": strategy, "join": join, "steps": 10, "class_balance": 0.5, "model": model}
    )
    dev = tried(columns, LABELS, join, 5)
    head = train_head(config, Pool(columns, len(LABELS), join, 0.5), dev, seed=0)
    encoders = {m: {"version": "sha256:0", "dim": dim} for m, dim in DIMS.items()}
    entries = {"name": "tiny", "architecture": strategy, "labels": LABELS, "encoders": encoders}
    write_config(tmp_path, entries | {"model": shape_entries(head)})
    write_tensors(tmp_path / "model.safetensors", stored_weights(head))

    served = FusionClassifier.load(Artifact.open(tmp_path), ENGINE)

    for part in dev.values():
        with torch.no_grad():
            trained = head(part.embeddings, part.present).numpy()
        assert served.classify(parts_of(part)) == pytest.approx(trained, abs=5e-3)
