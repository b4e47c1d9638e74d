"""The training scripts from data to artifacts, on tiny data and encoders; nodes then serve them."""

from functools import partial
from pathlib import Path

import pytest
import torch

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.engine import EngineBuilder, torch_engine
from mesh.golden import check_classifier, check_encoder
from mesh.settings import InputLimits
from services.fusion.classifier import FusionClassifier
from services.text_encoder.encoder import TextEncoder
from services.vision_encoder.encoder import VisionEncoder
from tests.encoder_artifacts import audio_artifact, text_artifact, vision_artifact
from tests.training_data import write_data
from training import fuse, tune_faces

SAMPLES = Path(__file__).parents[2] / "samples"
ENGINE: EngineBuilder = partial(torch_engine, device="cpu", dtype=torch.float32)
WRITERS = {
    Modality.TEXT: text_artifact,
    Modality.IMAGE: vision_artifact,
    Modality.AUDIO: audio_artifact,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny data, with every class in every part."""
    return write_data(tmp_path_factory.mktemp("data"), train=40)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests share the machine."""
    monkeypatch.setenv("MESH_THREADS", "1")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of three tiny encoders without golden examples, and no head."""
    for modality, write in WRITERS.items():
        folder = tmp_path / "tiny" / modality
        folder.mkdir(parents=True)
        write(folder)
    return tmp_path / "tiny"


def run_fuse(data: Path, model: Path) -> Artifact:
    """Train a head for a few steps."""
    options = {"data": data, "model": model, "samples": SAMPLES, "cache": model.parent / "cache"}
    fuse.main([*(f"--{name}={value}" for name, value in options.items()), "--steps=5"])
    return Artifact.open(model / "fusion")


def test_fusing_writes_artifacts_that_nodes_accept(data: Path, model: Path) -> None:
    """Head and encoders hold their golden examples, and belong together."""
    fusion = run_fuse(data, model)

    text = Artifact.open(model / "text")
    classifier = FusionClassifier.load(fusion, ENGINE)
    assert check_classifier(classifier, fusion, "fp32") == pytest.approx(1.0)
    assert check_encoder(
        TextEncoder.load(text, ENGINE, InputLimits()), text, "fp32"
    ) == pytest.approx(1.0)
    assert classifier.encoders[Modality.TEXT].version == text.version
    assert {weight.dtype for weight in fusion.weights().values()} == {torch.float16}


def test_fusing_again_gives_the_same_version(data: Path, model: Path) -> None:
    """On one machine, from the cache or without it."""
    assert run_fuse(data, model).version == run_fuse(data, model).version


def test_tuning_writes_weights_that_the_encoder_serves(
    data: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them in half precision, next to the config."""
    before = Artifact.open(model / "image").version

    tune_faces.main([f"--data={data}", f"--model={model}", "--epochs=1"])

    artifact = Artifact.open(model / "image")
    encoder = VisionEncoder.load(artifact, ENGINE, InputLimits())
    smile = encoder.preprocess((SAMPLES / "smile.jpg").read_bytes())
    assert artifact.version != before
    assert {weight.dtype for weight in artifact.weights().values()} == {torch.float16}
    assert torch.isfinite(torch.from_numpy(encoder.forward([smile]))).all()
    assert "epoch 1: loss" in capsys.readouterr().out
