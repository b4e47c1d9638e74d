"""What holds for every network of the vision encoder, whatever its family."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from mesh.artifact import Artifact
from mesh.engine import EngineBuilder
from mesh.settings import InputLimits
from mesh.torch_engine import torch_engine
from services.vision_encoder.encoder import VisionEncoder
from services.vision_encoder.model import ARCHITECTURES
from services.vision_encoder.preprocess import REVISION
from tests.encoder_artifacts import seeded
from tests.media import encoded, gradient

SIZE: Final = 32
TINY_VIT: Final = {
    "image_size": SIZE,
    "patch_size": 16,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
ENGINE: EngineBuilder = partial(torch_engine, device="cpu", dtype=torch.float32)
PICTURES: Final = [encoded(gradient(), "PNG"), encoded(gradient().rotate(90), "PNG")]


class Case(NamedTuple):
    """What an artifact's config says of its network, and the length of its embeddings."""

    architecture: str
    model: dict[str, Any]
    dim: int

    def build(self) -> nn.Module:
        """The network with the same random weights in every run."""
        return seeded(ARCHITECTURES[self.architecture].build(self.model))


CASES: Final = {
    "efficientnet_lite0": Case("efficientnet_lite0", {}, 1280),
    "mobilenet_v3_small": Case("cnn", {"name": "mobilenet_v3_small"}, 1024),
    "shufflenet_v2_x0_5": Case("cnn", {"name": "shufflenet_v2_x0_5"}, 1024),
    "googlenet": Case("cnn", {"name": "googlenet"}, 1024),
    "vit, cls": Case("vit", TINY_VIT, 8),
    "vit, mean": Case("vit", {**TINY_VIT, "pooled": "mean"}, 8),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Each network in turn."""
    return CASES[request.param]


def pixels(items: int) -> torch.Tensor:
    """Noise, as the networks get pictures: (items, 3, SIZE, SIZE)."""
    return torch.randn(items, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def artifact(folder: Path, case: Case, size: int = SIZE) -> Artifact:
    """An artifact without a base: all weights are its own."""
    weights = {name: weight.contiguous() for name, weight in case.build().state_dict().items()}
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    config = {
        "name": "tiny",
        "architecture": case.architecture,
        "model": case.model,
        "preprocess": {"size": size},
        "preprocess_revision": REVISION,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return Artifact.open(folder)


def test_a_batch_equals_one_by_one(case: Case) -> None:
    """float32 of `dim` numbers each, its own, and unlike the others."""
    network, batch = case.build(), pixels(3)
    with torch.inference_mode():
        together = network(batch)
        alone = torch.cat([network(picture[None]) for picture in batch])

    assert (together.shape, together.dtype) == ((3, case.dim), torch.float32)
    assert network.dim == case.dim
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-2


def test_every_weight_can_be_trained(case: Case) -> None:
    """The gradients reach all of them."""
    network = case.build().train()
    network(pixels(2)).square().sum().backward()

    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("name", ["efficientnet_lite0", "shufflenet_v2_x0_5", "vit, mean"])
def test_an_artifact_without_a_base_serves(name: str, tmp_path: Path) -> None:
    """A network that was trained from scratch has all its weights in model.safetensors."""
    case = CASES[name]
    encoder = VisionEncoder.load(artifact(tmp_path, case), ENGINE, InputLimits())
    items = [encoder.preprocess(raw) for raw in PICTURES]
    vectors = encoder.forward(items)
    with torch.inference_mode():
        pixels = torch.tensor(np.stack([item.pixels for item in items]))
        expected = case.build()((pixels - 127.0) / 128.0)

    assert vectors.shape == (2, encoder.dim) == (2, case.dim)
    np.testing.assert_allclose(vectors, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_setting_that_a_network_does_not_have_is_named(case: Case) -> None:
    """Whichever library it is from."""
    with pytest.raises(TypeError, match="colour"):
        ARCHITECTURES[case.architecture].build({**case.model, "colour": 1})


def test_without_a_base_no_weight_may_be_missing(tmp_path: Path) -> None:
    """Else it would stay at random."""
    scratch = artifact(tmp_path, CASES["vit, cls"])
    weights = scratch.weights()
    del weights["vit.layernorm.bias"]
    safetensors.torch.save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"Missing .*vit\.layernorm\.bias"):
        VisionEncoder.load(Artifact.open(tmp_path), ENGINE, InputLimits())


def test_pictures_of_another_size_than_the_networks_are_refused(tmp_path: Path) -> None:
    """A ViT has a position for each patch of one size, and the artifact says so at load."""
    wrong = artifact(tmp_path, CASES["vit, cls"], size=48)
    with pytest.raises(ValueError, match=r"size is 48, but the network takes 32 only"):
        VisionEncoder.load(wrong, ENGINE, InputLimits())


def test_only_a_vit_costs_the_import_of_transformers() -> None:
    """A node of another family starts without it."""
    program = (
        "import sys, services.vision_encoder.encoder; assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)
