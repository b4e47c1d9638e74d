"""The default fusion head: what training computes is what serving answers."""

from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import torch

from mesh.artifact import Artifact
from mesh.classifying import Example
from mesh.embedding import Modality
from mesh.engine import EngineBuilder, torch_engine
from services.fusion.classifier import FusionClassifier
from services.fusion.model import FUSIONS
from training.head import SUBSETS, subset_logits

ARTIFACT: Final = Artifact.open(Path(__file__).parents[2] / "models" / "emotion6" / "fusion")
ENGINE: EngineBuilder = partial(torch_engine, device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def classifier() -> FusionClassifier:
    """The default head as a node loads it."""
    return FusionClassifier.load(ARTIFACT, ENGINE)


def every_subset(classifier: FusionClassifier, seed: int) -> list[Example]:
    """Random embeddings, in all seven subsets of modalities."""
    rng = np.random.default_rng(seed)
    vectors = {
        modality: rng.normal(size=encoder.dim).astype(np.float32)
        for modality, encoder in classifier.encoders.items()
    }
    subsets = (subset for size in (1, 2, 3) for subset in combinations(Modality, size))
    return [{modality: vectors[modality] for modality in subset} for subset in subsets]


@pytest.mark.parametrize("seed", range(3))
def test_serving_answers_what_training_computes(classifier: FusionClassifier, seed: int) -> None:
    """For each subset: the logits that were trained, softened by the subset's temperature."""
    examples = every_subset(classifier, seed)
    config = ARTIFACT.config
    dims = [encoder["dim"] for encoder in config["encoders"].values()]
    head = FUSIONS["concat"]({"dims": dims, "classes": len(config["labels"]), **config["model"]})
    head.load_state_dict(ARTIFACT.weights())
    whole = torch.from_numpy(np.concatenate([*examples[-1].values()]))[None]

    logits = subset_logits(head.eval(), whole)[:, 0]
    temperature = head.temperature[head.subset_of(SUBSETS), None]

    expected = torch.softmax(logits / temperature, dim=1).numpy()
    assert classifier.classify(examples) == pytest.approx(expected, abs=1e-6)


def test_a_batch_equals_one_by_one(classifier: FusionClassifier) -> None:
    """Whatever subsets the neighbours have."""
    examples = [example for seed in range(3) for example in every_subset(classifier, seed)]

    together = classifier.classify(examples)

    alone = np.concatenate([classifier.classify([example]) for example in examples])
    assert together == pytest.approx(alone, abs=1e-6)


def test_half_precision_gives_nearly_the_same_probabilities(classifier: FusionClassifier) -> None:
    """bfloat16 stays within a few hundredths."""
    half = FusionClassifier.load(
        ARTIFACT, partial(torch_engine, device="cpu", dtype=torch.bfloat16)
    )
    examples = every_subset(classifier, seed=0)

    assert half.classify(examples) == pytest.approx(classifier.classify(examples), abs=0.05)
