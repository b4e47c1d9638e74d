"""Golden examples as training writes them, checked as a node does."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.engine import EngineBuilder
from mesh.golden import check_classifier, check_encoder
from mesh.settings import InputLimits
from mesh.torch_engine import torch_engine
from services.fusion.classifier import FusionClassifier
from services.text_encoder.encoder import TextEncoder
from tests.encoder_artifacts import text_artifact
from tests.fusion_artifacts import DIMS, fusion_artifact
from training.golden import subsets, write_encoder_golden, write_fusion_golden

ENGINE: EngineBuilder = partial(torch_engine, device="cpu", dtype=torch.float32)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """A folder with two texts and a picture."""
    folder = tmp_path / "samples"
    folder.mkdir()
    (folder / "b.txt").write_text("happy")
    (folder / "a.txt").write_text("a glad sad café", encoding="utf-8")
    (folder / "c.jpg").write_bytes(b"no text")
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A tiny text encoder's artifact without golden examples."""
    folder = tmp_path / "text"
    folder.mkdir()
    return text_artifact(folder).path


def test_an_encoders_golden_examples_are_the_samples_of_its_modality(
    samples: Path, text: Path
) -> None:
    """Copied in the order of their names, with the outputs that a node then finds."""
    vectors = write_encoder_golden(text, Modality.TEXT, samples, ENGINE)

    artifact = Artifact.open(text)
    assert artifact.golden_inputs() == [b"a glad sad caf\xc3\xa9", b"happy"]
    assert np.array_equal(artifact.golden_outputs()["embeddings"], vectors)
    encoder = TextEncoder.load(artifact, ENGINE, InputLimits())
    assert check_encoder(encoder, artifact, "fp32") == pytest.approx(1.0)


def test_writing_golden_examples_again_changes_nothing(samples: Path, text: Path) -> None:
    """The version stays, and with it what was trained on it."""
    write_encoder_golden(text, Modality.TEXT, samples, ENGINE)
    before = Artifact.open(text).version

    write_encoder_golden(text, Modality.TEXT, samples, ENGINE)

    assert Artifact.open(text).version == before


def test_fusions_golden_examples_are_all_subsets(tmp_path: Path) -> None:
    """Each with the probabilities that a node then finds; the rest of the config stays."""
    before = fusion_artifact(tmp_path).config
    vectors = {Modality(name): np.ones((2, dim), np.float32) for name, dim in DIMS.items()}

    write_fusion_golden(tmp_path, vectors, ENGINE)

    artifact = Artifact.open(tmp_path)
    classifier = FusionClassifier.load(artifact, ENGINE)
    assert len(artifact.golden_inputs()) == 7
    assert check_classifier(classifier, artifact, "fp32") == pytest.approx(1.0)
    kept = {name: value for name, value in artifact.config.items() if name != "golden"}
    assert json.dumps(kept) == json.dumps(before)


def test_golden_files_can_be_read_by_everyone(samples: Path, text: Path) -> None:
    """A node may run as another user than who trained."""
    write_encoder_golden(text, Modality.TEXT, samples, ENGINE)

    modes = [file.stat().st_mode & 0o444 for file in (text / "golden").iterdir()]
    assert modes == [0o444] * 3


def test_the_subsets_are_all_but_the_empty_one() -> None:
    """The smallest first, each in the order that the modalities are given in."""
    text, image, audio = Modality

    assert subsets([text]) == [(text,)]
    assert subsets([image, text]) == [(image,), (text,), (image, text)]
    assert [len(subset) for subset in subsets(Modality)] == [1, 1, 1, 2, 2, 2, 3]
    assert subsets(iter(Modality))[-1] == (text, image, audio)


def test_a_head_of_two_modalities_has_three_golden_examples(tmp_path: Path) -> None:
    """Each modality's vectors are taken in turn, and the same ones each time."""
    fusion_artifact(tmp_path, modalities=["text", "audio"])
    vectors = {
        Modality(name): np.arange(2 * DIMS[name], dtype=np.float32).reshape(2, -1)
        for name in ("text", "audio")
    }

    for _ in range(2):
        write_fusion_golden(tmp_path, vectors, ENGINE)

    found = [safetensors.numpy.load(raw) for raw in Artifact.open(tmp_path).golden_inputs()]
    assert [sorted(example) for example in found] == [["text"], ["audio"], ["audio", "text"]]
    assert found[0]["text"].tolist() == [0, 1, 2] == found[2]["text"].tolist()
    assert found[1]["audio"].tolist() == [4, 5, 6, 7]
