"""A head behind the mesh's Classifier contract, on a tiny artifact."""

import json
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from prometheus_client import CollectorRegistry

from mesh.artifact import Artifact, ArtifactError
from mesh.classifying import Classifier, EncoderVersion, Example
from mesh.embedding import Modality
from mesh.engine import EngineBuilder, torch_engine
from mesh.errors import InvalidInput
from mesh.loading import load_fusion
from mesh.settings import NodeSettings
from mesh.telemetry import NodeMetrics
from services.fusion.classifier import FusionClassifier
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


@pytest.mark.parametrize("missing", ["labels", "encoders", "architecture", "model"])
def test_an_artifact_without_a_part_is_an_artifact_error(artifact: Artifact, missing: str) -> None:
    """As a node loads it."""
    config = {key: value for key, value in artifact.config.items() if key != missing}
    folder = artifact.path / "fusion"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    settings = NodeSettings(model=str(artifact.path), threads=torch.get_num_threads())
    with pytest.raises(ArtifactError, match=f"fusion can't be used: KeyError: '{missing}'"):
        load_fusion(settings, NodeMetrics(CollectorRegistry()), FusionClassifier.load)


def vector(modality: Modality) -> np.ndarray:
    """An embedding of the modality's length."""
    return np.arange(DIMS[modality], dtype=np.float32)


def every_subset() -> list[Example]:
    """The seven examples that three modalities allow."""
    subsets = (subset for size in (1, 2, 3) for subset in combinations(Modality, size))
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


def test_a_modality_that_the_head_was_not_trained_on_is_refused() -> None:
    """A head may know fewer modalities than the mesh."""
    head = FusionClassifier(
        name="text only",
        version="sha256:head",
        labels=LABELS,
        encoders={Modality.TEXT: EncoderVersion("sha256:text", 3)},
        _engine=lambda inputs: np.full((len(inputs["present"]), 2), 0.5, np.float32),
    )

    assert head.classify([{Modality.TEXT: vector(Modality.TEXT)}]).shape == (1, 2)
    with pytest.raises(InvalidInput, match="knows no image"):
        head.classify([{Modality.IMAGE: vector(Modality.IMAGE)}])
