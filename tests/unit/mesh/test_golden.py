"""Golden examples of the fake models."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from mesh.artifact import OUTPUTS, Artifact
from mesh.golden import EMBEDDINGS, PROBABILITIES, GoldenMismatch, check_classifier, check_encoder
from tests import fake_artifacts
from tests.fake_models import FakeClassifier, FakeEncoder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """An encoder's artifact that is right."""
    return fake_artifacts.write_encoder(tmp_path / "encoder")


@pytest.fixture
def fusion(tmp_path: Path) -> Path:
    """A head's artifact that is right."""
    return fake_artifacts.write_fusion(tmp_path / "fusion")


def change(folder: Path, name: str, outputs: list[list[float]]) -> Artifact:
    """The artifact with other golden outputs."""
    safetensors.numpy.save_file({name: np.array(outputs, np.float32)}, folder / OUTPUTS)
    return Artifact.open(folder)


def test_an_encoder_that_computes_its_golden_outputs_is_right(encoder: Path) -> None:
    """The least cosine is one."""
    least = check_encoder(FakeEncoder(), Artifact.open(encoder), "fp32")
    assert least == pytest.approx(1.0)


def test_an_encoder_may_differ_within_its_tolerance(encoder: Path) -> None:
    """Which another class of engines has wider."""
    artifact = change(encoder, EMBEDDINGS, [[5, 104, 1], [8, 111, 1]])
    with pytest.raises(GoldenMismatch, match=r"fp32 needs 0\.9999"):
        check_encoder(FakeEncoder(), artifact, "fp32")
    assert 0.99 < check_encoder(FakeEncoder(), artifact, "bf16") < 0.9999


@pytest.mark.parametrize("wrong", [[[5, 104, 1]], [[5, 104], [2, 111]]])
def test_outputs_of_another_shape_differ(encoder: Path, wrong: list[list[float]]) -> None:
    """Fewer examples, or another dim."""
    with pytest.raises(GoldenMismatch, match="shape"):
        check_encoder(FakeEncoder(), change(encoder, EMBEDDINGS, wrong), "fp32")


def test_outputs_that_are_no_numbers_differ(encoder: Path) -> None:
    """A NaN is near nothing."""
    wrong = [[5, 104, 1], [float("nan")] * 3]
    with pytest.raises(GoldenMismatch):
        check_encoder(FakeEncoder(), change(encoder, EMBEDDINGS, wrong), "fp32")


def test_a_classifier_that_computes_its_golden_outputs_is_right(fusion: Path) -> None:
    """Probabilities and classes."""
    assert check_classifier(FakeClassifier(), Artifact.open(fusion), "fp32") > 0.999


def test_a_classifier_that_gives_another_class_differs(fusion: Path) -> None:
    """However near its probabilities are."""
    artifact = change(fusion, PROBABILITIES, [[0.7, 0.3], [0.501, 0.499]])
    with pytest.raises(GoldenMismatch, match="golden example 1 is of another class"):
        check_classifier(FakeClassifier(), artifact, "fp32")
