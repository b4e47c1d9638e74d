"""A head behind the mesh's Classifier contract, on a tiny artifact."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prometheus_client import CollectorRegistry

from mesh.artifact import Artifact, ArtifactError
from mesh.classifying import Classifier, EncoderVersion, Example
from mesh.embedding import Modality
from mesh.engine import EngineBuilder
from mesh.errors import InvalidInput
from mesh.loading import load_fusion
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics
from mesh.torch_engine import torch_engine
from services.fusion.classifier import FusionClassifier
from services.fusion.model import FUSIONS
from tests.fusion_artifacts import DIMS, LABELS, fusion_artifact

ENGINE: EngineBuilder = partial(torch_engine, device="cpu", dtype=torch.float32)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A head of three modalities and two classes."""
    return fusion_artifact(tmp_path)


@pytest.fixture
def classifier(artifact: Artifact) -> FusionClassifier:
    """The same, loaded."""
    return FusionClassifier.load(artifact, ENGINE)


def load_as_a_node(artifact: Artifact, config: Mapping[str, Any]) -> None:
    """Load an artifact of this config, whose folder is inside the other's."""
    folder = artifact.path / "fusion"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    settings = NodeSettings(model=str(artifact.path), threads=torch.get_num_threads())
    load_fusion(settings, NodeMetrics(CollectorRegistry()), FusionClassifier.load)


@pytest.mark.parametrize("missing", ["labels", "encoders", "architecture", "model"])
def test_an_artifact_without_a_part_is_an_artifact_error(artifact: Artifact, missing: str) -> None:
    """It names the part."""
    config = {key: value for key, value in artifact.config.items() if key != missing}
    with pytest.raises(ArtifactError, match=f"fusion can't be used: KeyError: '{missing}'"):
        load_as_a_node(artifact, config)


def test_an_unknown_part_of_the_model_is_an_artifact_error(artifact: Artifact) -> None:
    """It names the part."""
    config = {**artifact.config, "model": {**artifact.config["model"], "depth": 3}}
    with pytest.raises(ArtifactError, match="fusion can't be used: ValueError: `model` has depth"):
        load_as_a_node(artifact, config)


def vector(modality: Modality) -> np.ndarray:
    """An embedding of the modality's length."""
    return np.arange(DIMS[modality], dtype=np.float32)


def every_subset(modalities: Sequence[Modality] = tuple(Modality)) -> list[Example]:
    """The examples that these modalities allow: seven of all three."""
    subsets = (subset for size in (1, 2, 3) for subset in combinations(modalities, size))
    return [{modality: vector(modality) for modality in subset} for subset in subsets]


def test_it_says_what_it_is(artifact: Artifact, classifier: FusionClassifier) -> None:
    """Name, version, labels, and the encoders that it was trained on, as the artifact has them."""
    contract: Classifier = classifier

    assert (contract.name, contract.version) == ("tiny", artifact.version)
    assert contract.labels == LABELS
    assert contract.encoders == {
        Modality.TEXT: EncoderVersion("sha256:text", 3),
        Modality.IMAGE: EncoderVersion("sha256:image", 2),
        Modality.AUDIO: EncoderVersion("sha256:audio", 4),
    }


def test_every_subset_of_modalities_is_classified(classifier: FusionClassifier) -> None:
    """In one batch, each with probabilities of its own that sum to one."""
    probabilities = classifier.classify(every_subset())

    assert (probabilities.shape, probabilities.dtype) == ((7, 2), np.float32)
    assert probabilities.sum(1) == pytest.approx(1.0)
    assert len(np.unique(probabilities, axis=0)) == 7


def test_a_batch_equals_one_by_one(classifier: FusionClassifier) -> None:
    """Neighbours change nothing, and the order stays."""
    examples = every_subset()
    alone = [classifier.classify([example])[0] for example in examples]

    assert classifier.classify(examples) == pytest.approx(np.stack(alone))


def test_the_order_of_an_examples_modalities_does_not_matter(classifier: FusionClassifier) -> None:
    """An embedding's place is its modality's."""
    example = every_subset()[-1]
    turned = dict(reversed(example.items()))

    assert np.array_equal(classifier.classify([example]), classifier.classify([turned]))


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        ({}, "without any embedding"),
        ({Modality.TEXT: np.zeros(4, np.float32)}, "text embedding has shape"),
        ({Modality.TEXT: np.zeros((3, 1), np.float32)}, "text embedding has shape"),
        ({Modality.AUDIO: np.array([0, np.nan, 0, 0], np.float32)}, "audio .* finite"),
        ({Modality.IMAGE: np.array([np.inf, 0], np.float32)}, "image .* finite"),
    ],
)
def test_what_no_encoder_gives_is_refused(
    classifier: FusionClassifier, example: Example, reason: str
) -> None:
    """Nothing, a wrong shape, and numbers that aren't finite."""
    with pytest.raises(InvalidInput, match=reason):
        classifier.classify([*every_subset(), example])


@pytest.mark.parametrize("architecture", FUSIONS)
@pytest.mark.parametrize(
    "names", ["text", "image", "text image", "image audio", "text image audio"]
)
def test_a_head_may_know_fewer_modalities_than_the_mesh(
    tmp_path: Path, architecture: str, names: str
) -> None:
    """It answers all subsets of its own, as a batch and one by one, whatever its strategy."""
    modalities = [Modality(name) for name in names.split()]
    head = FusionClassifier.load(fusion_artifact(tmp_path, architecture, modalities), ENGINE)
    examples = every_subset(modalities)

    together = head.classify(examples)

    alone = np.concatenate([head.classify([example]) for example in examples])
    assert list(head.encoders) == modalities
    assert together.shape == (2 ** len(modalities) - 1, 2)
    assert together.sum(1) == pytest.approx(1.0)
    assert together == pytest.approx(alone, abs=1e-6)


def test_a_modality_that_the_head_was_not_trained_on_is_refused(tmp_path: Path) -> None:
    """Also beside others that it knows."""
    head = FusionClassifier.load(fusion_artifact(tmp_path, modalities=["text", "audio"]), ENGINE)

    for example in every_subset():
        if Modality.IMAGE in example:
            with pytest.raises(InvalidInput, match="tiny knows no image"):
                head.classify([example])
