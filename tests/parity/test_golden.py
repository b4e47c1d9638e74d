"""The artifacts that ship with the repository: whole, small, and true to their golden examples."""

import json
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.engine import Kind, builders
from mesh.golden import check_classifier, check_encoder
from mesh.settings import InputLimits, NodeSettings
from mesh.torch_engine import torch_engine
from services.audio_encoder.encoder import AudioEncoder
from services.fusion.classifier import FusionClassifier
from services.text_encoder.encoder import TextEncoder
from services.vision_encoder.encoder import VisionEncoder

MODEL: Final = Path(__file__).parents[2] / "models" / "emotion6"
ENCODERS: Final[dict[Modality, Any]] = {
    Modality.TEXT: TextEncoder,
    Modality.IMAGE: VisionEncoder,
    Modality.AUDIO: AudioEncoder,
}
DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}
MOST_BYTES: Final = 40_000_000


@pytest.fixture(params=DTYPES)
def engine_class(request: pytest.FixtureRequest) -> str:
    """Each class of engines that artifacts state a tolerance for."""
    name: str = request.param
    return name


@pytest.mark.parametrize("modality", ENCODERS, ids=str)
def test_an_encoder_computes_its_golden_embeddings(modality: Modality, engine_class: str) -> None:
    """In every class of engines, within what the artifact allows."""
    artifact = Artifact.open(MODEL / modality)
    engine = partial(torch_engine, device="cpu", dtype=DTYPES[engine_class])
    encoder = ENCODERS[modality].load(artifact, engine, InputLimits())

    assert check_encoder(encoder, artifact, engine_class) >= artifact.tolerance(engine_class)


@pytest.mark.parametrize("modality", ENCODERS, ids=str)
def test_an_encoder_is_nearly_as_good_in_8_bits(modality: Modality, tmp_path: Path) -> None:
    """Far within what its artifact allows. Of a picture's network there is nothing to round."""
    artifact = Artifact.open(MODEL / modality)
    kind, settings = Kind("openvino", "int8_dynamic"), NodeSettings(engine_cache=str(tmp_path))
    (engine,) = builders(kind, settings, artifact)
    encoder = ENCODERS[modality].load(artifact, engine, InputLimits())

    assert check_encoder(encoder, artifact, kind.tolerance) > 0.999


def test_fusion_computes_its_golden_probabilities(engine_class: str) -> None:
    """And the same classes."""
    artifact = Artifact.open(MODEL / "fusion")
    engine = partial(torch_engine, device="cpu", dtype=DTYPES[engine_class])
    classifier = FusionClassifier.load(artifact, engine)

    assert check_classifier(classifier, artifact, engine_class) >= artifact.tolerance(engine_class)


def test_fusions_golden_examples_cover_every_subset_of_modalities() -> None:
    """Each is named by the tensors in its file."""
    files = (MODEL / "fusion" / "golden").glob("[0-9]*.safetensors")
    headers = (file.read_bytes() for file in files)
    subsets = {frozenset(json.loads(h[8 : 8 + int.from_bytes(h[:8], "little")])) for h in headers}

    assert len(subsets) == 7
    assert frozenset() not in subsets
    assert frozenset(map(str, Modality)) in subsets


def test_fusion_was_trained_on_the_encoders_beside_it() -> None:
    """Their versions and dimensions are the ones that its config names."""
    encoders = Artifact.open(MODEL / "fusion").config["encoders"]

    assert list(encoders) == [str(modality) for modality in Modality]
    for modality, encoder in encoders.items():
        artifact = Artifact.open(MODEL / modality)
        (dim,) = artifact.golden_outputs()["embeddings"].shape[1:]
        assert encoder == {"version": artifact.version, "dim": dim}


def test_what_ships_is_small_and_holds_no_base_weights() -> None:
    """Base weights are dependencies; what training changed is stored in half precision."""
    files = [file for file in MODEL.rglob("*") if file.is_file()]

    assert sum(file.stat().st_size for file in files) < MOST_BYTES
    assert {file.suffix for file in files} <= {
        ".flac", ".jpg", ".json", ".md", ".safetensors", ".txt", ".wav"
    }  # fmt: skip
    # Beside weights there are counts of batches, and the statistics that a head standardises by.
    others = {"image": {torch.int64}, "fusion": {torch.float32}}
    for part in ("text", "image", "audio", "fusion"):
        dtypes = {weight.dtype for weight in Artifact.open(MODEL / part).weights().values()}
        assert dtypes <= {torch.float16} | others.get(part, set())
