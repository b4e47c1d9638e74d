"""The three encoders behind the mesh's contract, on tiny artifacts."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.torch
import torch
from prometheus_client import CollectorRegistry

from mesh.artifact import Artifact, ArtifactError
from mesh.embedding import Modality
from mesh.encoding import Raw
from mesh.engine import EngineBuilder
from mesh.errors import TooLarge
from mesh.loading import load_encoder
from mesh.settings import InputLimits, NodeSettings
from mesh.telemetry import NodeMetrics
from mesh.torch_engine import torch_engine
from services.audio_encoder.encoder import AudioEncoder
from services.text_encoder.encoder import TextEncoder
from services.vision_encoder.encoder import VisionEncoder
from tests.encoder_artifacts import audio_artifact, text_artifact, vision_artifact
from tests.media import encoded, gradient, sound, tone

ENGINE: EngineBuilder = partial(torch_engine, device="cpu", dtype=torch.float32)
LIMITS = InputLimits(
    max_text_chars=100, max_image_bytes=9_999, max_image_pixels=99_999, max_audio_bytes=99_999
)


class Case(NamedTuple):
    """An encoder, its artifact, and two inputs of different length."""

    encoder: Any
    artifact: Callable[[Path], Artifact]
    inputs: tuple[Raw, Raw]
    limits: dict[str, float]


CASES = {
    Modality.TEXT: Case(
        TextEncoder, text_artifact, ("happy", "a glad sad happy"), {"characters": 100}
    ),
    Modality.IMAGE: Case(
        VisionEncoder,
        vision_artifact,
        (encoded(gradient(), "PNG"), encoded(gradient("L", (9, 30)), "JPEG")),
        {"bytes": 9_999, "pixels": 99_999},
    ),
    Modality.AUDIO: Case(
        AudioEncoder,
        audio_artifact,
        (sound(tone(0.05)), sound(tone(0.31))),
        {"bytes": 99_999, "seconds": 60.0},
    ),
}


@pytest.fixture(params=CASES, ids=str)
def modality(request: pytest.FixtureRequest) -> Modality:
    """Each modality in turn."""
    found: Modality = request.param
    return found


@pytest.fixture
def artifact(modality: Modality, tmp_path: Path) -> Artifact:
    """A tiny artifact of the modality."""
    return CASES[modality].artifact(tmp_path)


def load(modality: Modality, artifact: Artifact) -> Any:
    """The modality's encoder."""
    return CASES[modality].encoder.load(artifact, ENGINE, LIMITS)


def load_in_node(modality: Modality, folder: Path) -> None:
    """The same as a node does it, which has the artifact blamed for what goes wrong."""
    settings = NodeSettings(model=str(folder.parent), threads=torch.get_num_threads())
    metrics = NodeMetrics(CollectorRegistry())
    load_encoder(settings, metrics, folder.name, CASES[modality].encoder.load)


def test_it_says_what_it_is(modality: Modality, artifact: Artifact) -> None:
    """Modality, version and limits are those of its class, artifact and settings."""
    encoder = load(modality, artifact)

    assert encoder.modality is modality
    assert encoder.version == artifact.version
    assert encoder.limits == CASES[modality].limits


def test_its_example_can_be_encoded(modality: Modality, artifact: Artifact) -> None:
    """A node warms up by it; one item never costs more than a batch may."""
    encoder = load(modality, artifact)
    item = encoder.preprocess(encoder.example)
    vectors = encoder.forward([item])

    assert vectors.shape == (1, encoder.dim)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert item.size <= encoder.max_batch_size


def test_a_batch_keeps_its_order(modality: Modality, artifact: Artifact) -> None:
    """Each row is what its input gives alone."""
    encoder = load(modality, artifact)
    items = [encoder.preprocess(raw) for raw in CASES[modality].inputs]
    alone = np.concatenate([encoder.forward([item]) for item in items])

    assert encoder.forward(items) == pytest.approx(alone, abs=1e-5)
    assert encoder.forward(items[::-1]) == pytest.approx(alone[::-1], abs=1e-5)
    assert abs(alone[0] - alone[1]).max() > 1e-4


def test_its_limits_hold(modality: Modality, artifact: Artifact) -> None:
    """An input over the settings' limit is refused."""
    raw: Raw = "a" * 101 if modality is Modality.TEXT else b"a" * 100_000
    with pytest.raises(TooLarge):
        load(modality, artifact).preprocess(raw)


def test_trained_weights_replace_those_of_the_base(modality: Modality, artifact: Artifact) -> None:
    """model.safetensors holds only what training changed, in half precision."""
    raw = CASES[modality].inputs[0]
    before = load(modality, artifact)
    trained = {
        Modality.TEXT: "embeddings.norm.weight",
        Modality.IMAGE: "head.norm.bias",
        Modality.AUDIO: "conv2.bias",
    }[modality]
    size = {Modality.TEXT: 16, Modality.IMAGE: 1280, Modality.AUDIO: 16}[modality]
    safetensors.torch.save_file(
        {trained: torch.linspace(0.5, 2, size).half()}, artifact.path / "model.safetensors"
    )
    after = load(modality, Artifact.open(artifact.path))

    assert after.version != before.version
    difference = after.forward([after.preprocess(raw)]) - before.forward([before.preprocess(raw)])
    assert abs(difference).max() > 1e-3


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "no such network"},
        {"model": {"no such": "setting"}},
        {"preprocess": {"no such": "setting"}},
        {"base": {"source": "path:absent.bin", "sha256": ""}},
        {"base": {"source": "path:config.json", "sha256": "0" * 64}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_wrong_config_is_an_artifact_error(
    modality: Modality, artifact: Artifact, change: dict[str, Any]
) -> None:
    """It names the artifact, whatever is wrong in it."""
    config = {**artifact.config, **change}
    (artifact.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError):
        load_in_node(modality, artifact.path)


@pytest.mark.parametrize("made_for", [0, None])
def test_an_artifact_for_other_preprocessing_is_refused(
    modality: Modality, artifact: Artifact, made_for: int | None
) -> None:
    """Its numbers would be of inputs that the network never saw; the error names both revisions."""
    revision = artifact.config["preprocess_revision"]
    config = {**artifact.config, "preprocess_revision": made_for}
    (artifact.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ArtifactError, match=f"preprocess_revision {made_for}, but this is {revision}"
    ):
        load_in_node(modality, artifact.path)


def test_weights_that_do_not_fit_are_an_artifact_error(
    modality: Modality, artifact: Artifact
) -> None:
    """A name that the network doesn't have would else be ignored."""
    safetensors.torch.save_file({"other": torch.zeros(1)}, artifact.path / "model.safetensors")
    with pytest.raises(ArtifactError, match="other"):
        load_in_node(modality, artifact.path)
