"""Artifacts of each family of audio networks, behind the encoder's contract."""

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from mesh.artifact import Artifact
from mesh.engine import EngineBuilder
from mesh.settings import InputLimits
from mesh.torch_engine import torch_engine
from services.audio_encoder.encoder import AudioEncoder
from services.audio_encoder.preprocess import REVISION
from tests.media import sound, tone
from tests.unit.services.audio_encoder.networks import MODELS, encode, network

ENGINE: EngineBuilder = partial(torch_engine, device="cpu", dtype=torch.float32)
SOUNDS = (sound(tone(0.01)), sound(tone(0.31)), sound(tone(0.5, hertz=1000.0)))


@pytest.fixture(params=MODELS)
def family(request: pytest.FixtureRequest) -> str:
    """Each family in turn."""
    name: str = request.param
    return name


def write_weights(folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """The weights that are an artifact's own."""
    safetensors.torch.save_file(dict(weights), folder / "model.safetensors")


def load(folder: Path, family: str, **changes: Any) -> AudioEncoder:
    """The encoder of a family's artifact without a base, some of whose config is changed."""
    config = {
        "name": "tiny",
        "architecture": family,
        "model": MODELS[family],
        "preprocess": {"mels": 80, "seconds": 30},
        "preprocess_revision": REVISION,
    }
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return AudioEncoder.load(Artifact.open(folder), ENGINE, InputLimits())


def test_without_a_base_the_artifacts_own_weights_serve(family: str, tmp_path: Path) -> None:
    """What was trained from scratch is whole in it."""
    write_weights(tmp_path, network(family).state_dict())
    encoder = load(tmp_path, family)
    items = [encoder.preprocess(raw) for raw in SOUNDS]
    expected = encode(network(family), *(torch.from_numpy(item.mel) for item in items))

    assert encoder.dim == expected.shape[1]
    assert encoder.forward(items) == pytest.approx(expected.numpy(), abs=1e-6)


def test_without_a_base_no_weight_may_be_missing(family: str, tmp_path: Path) -> None:
    """Else the node would serve random numbers."""
    weights = network(family).state_dict()
    name, _ = weights.popitem()
    write_weights(tmp_path, weights)

    with pytest.raises(RuntimeError, match=name):
        load(tmp_path, family)


def test_other_bands_than_the_networks_are_refused(family: str, tmp_path: Path) -> None:
    """Every sound would else fail with its whole batch."""
    write_weights(tmp_path, network(family).state_dict())

    with pytest.raises(ValueError, match="preprocess gives 64 mels, but the network takes 80"):
        load(tmp_path, family, preprocess={"mels": 64, "seconds": 30})


def test_longer_sounds_than_the_positions_reach_are_refused(tmp_path: Path) -> None:
    """As long ones are not. A long sound would else fail with its whole batch."""
    model = {**MODELS["whisper"], "positions": 500}
    write_weights(tmp_path, network("whisper", positions=500).state_dict())
    load(tmp_path, "whisper", model=model, preprocess={"seconds": 10})

    with pytest.raises(ValueError, match="11 seconds are 1100 frames, but the network takes 1000"):
        load(tmp_path, "whisper", model=model, preprocess={"seconds": 11})


def test_a_node_starts_without_transformers() -> None:
    """Its import would take three seconds of a core."""
    program = "import sys, services.audio_encoder.encoder; assert 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)
