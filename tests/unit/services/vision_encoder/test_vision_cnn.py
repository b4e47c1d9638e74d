"""The CNNs of torchvision."""

import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision import models

from services.vision_encoder.cnn import TorchvisionCNN, read_cnn
from tests.encoder_artifacts import seeded

# Where each has the layer that gives the classes.
LAST = {
    "resnet18": "fc",
    "shufflenet_v2_x0_5": "fc",
    "mobilenet_v3_small": "classifier.3",
    "efficientnet_b0": "classifier.1",
    "densenet121": "classifier",
}


def whole(name: str) -> nn.Module:
    """torchvision's own network, classifier and all."""
    return seeded(models.get_model(name, weights=None))


def features(network: nn.Module, last: str, pixels: torch.Tensor) -> torch.Tensor:
    """What the layer named `last` gets to see."""
    seen: list[torch.Tensor] = []
    network.get_submodule(last).register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    with torch.inference_mode():
        network(pixels)
    return seen[0]


@pytest.mark.parametrize("name", LAST)
def test_a_published_file_gives_torchvisions_features(name: str, tmp_path: Path) -> None:
    """It fits strictly, and the embedding is what torchvision's last layer gets to see."""
    published = whole(name)
    torch.save(published.state_dict(), tmp_path / "published.pth")
    network = TorchvisionCNN(name).eval()
    network.load_state_dict(read_cnn(tmp_path / "published.pth"), strict=True)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = network(pixels)

    expected = features(published, LAST[name], pixels)
    assert found.shape == (2, network.dim)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_a_published_file_may_be_safetensors(name: str, tmp_path: Path) -> None:
    """Which does not keep the order of the layers."""
    weights = whole(name).state_dict()
    torch.save(weights, tmp_path / "one.pth")
    safetensors.torch.save_file(weights, tmp_path / "other.safetensors")
    one, other = read_cnn(tmp_path / "one.pth"), read_cnn(tmp_path / "other.safetensors")

    assert one.keys() == other.keys()
    assert all(torch.equal(weight, other[layer]) for layer, weight in one.items())


def test_a_published_file_may_have_no_classifier(tmp_path: Path) -> None:
    """Then there is nothing to leave out."""
    network = TorchvisionCNN("shufflenet_v2_x0_5")
    torch.save(network.cnn.state_dict(), tmp_path / "features.pth")

    network.load_state_dict(read_cnn(tmp_path / "features.pth"), strict=True)


def test_a_file_may_have_classifiers_inside(tmp_path: Path) -> None:
    """GoogLeNet's were for its training on ImageNet."""
    published = models.get_model("googlenet", weights=None, init_weights=False)
    torch.save(published.state_dict(), tmp_path / "googlenet.pth")

    TorchvisionCNN("googlenet").load_state_dict(read_cnn(tmp_path / "googlenet.pth"), strict=True)


def test_a_densenets_published_names_are_known(tmp_path: Path) -> None:
    """They are older than the rule that a layer's name has no dot."""
    with torch.device("meta"):
        names = TorchvisionCNN("densenet121").state_dict().keys()
    ours = [name.removeprefix("cnn.") for name in names]
    published = [re.sub(r"(denselayer\d+\.[a-z]+)(\d)", r"\1.\2", name) for name in ours]
    file = {name: torch.zeros(1) for name in [*published, "classifier.weight", "classifier.bias"]}
    torch.save(file, tmp_path / "densenet.pth")

    assert "features.denseblock1.denselayer1.norm.1.weight" in published
    assert read_cnn(tmp_path / "densenet.pth").keys() == names


def test_torchvisions_own_options_are_passed_on() -> None:
    """Here dropout, before what used to be the last layer."""
    network = TorchvisionCNN("mobilenet_v3_small", dropout=0.75)

    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.75]


@pytest.mark.parametrize("name", ["resnet19", "fcos_resnet50_fpn", "raft_small", "mnasnet1_0"])
def test_a_name_without_a_usable_network_is_named(name: str) -> None:
    """Unknown, made for boxes or motion, or not to be loaded from an artifact."""
    with pytest.raises(ValueError, match=f"no classification network '{name}'"):
        TorchvisionCNN(name)


@pytest.mark.parametrize("name", ["squeezenet1_1", "swin_t"])
def test_a_network_with_another_end_is_refused(name: str) -> None:
    """One classifies by a convolution, the other is no CNN."""
    with torch.device("meta"), pytest.raises(ValueError, match=f"'{name}' has no linear layer"):
        TorchvisionCNN(name)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    """Only tensors are unpickled."""
    torch.save({"fc": nn.Linear(1, 1)}, tmp_path / "model.pth")

    with pytest.raises(Exception, match="Weights only"):
        read_cnn(tmp_path / "model.pth")
