"""Encoders' artifacts as training writes them: what is stored, and that serving reads it."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.engine import EngineBuilder
from mesh.settings import InputLimits
from mesh.torch_engine import torch_engine
from services.text_encoder.encoder import TextEncoder
from tests.encoder_artifacts import BERT, published_bert, tiny_bert, write_tokenizer
from tests.training_parts import rnn
from training.artifacts import add_to_config, write_untrained, write_weights
from training.config import ConfigError, EncoderConfig, Fit
from training.task import load_trainable

ENGINE: EngineBuilder = partial(torch_engine, device="cpu", dtype=torch.float32)
TEXT = "a happy café"
CHANGED = "layers.1.mlp.2.bias"


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder as a user has it: pretrained weights and their tokenizer."""
    folder = tmp_path / "beside"
    folder.mkdir()
    weights = published_bert(tiny_bert().state_dict())
    safetensors.torch.save_file(weights, folder / "base.safetensors")
    write_tokenizer(folder / "tokenizer.json")
    return folder


@pytest.fixture
def package(beside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same weights as an installed Python package has them; their source."""
    folder = tmp_path / "installed" / "tiny_bert_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    shutil.copyfile(beside / "base.safetensors", folder / "base.safetensors")
    monkeypatch.syspath_prepend(folder.parent)
    return "package:tiny_bert_weights/base.safetensors"


def bert(**other: Any) -> EncoderConfig:
    """A BERT from a local base, but for what is said otherwise."""
    settings = {"architecture": "bert", "model": BERT, "preprocess": {"max_tokens": 8}}
    sources = {"base": "path:base.safetensors", "tokenizer": "path:tokenizer.json"}
    return EncoderConfig.model_validate({**settings, **sources, **other})


def write(folder: Path, config: EncoderConfig, beside: Path) -> Path:
    """The untrained artifact; where it is."""
    write_untrained(folder, "tiny", Modality.TEXT, config, beside)
    return folder


def served(folder: Path) -> torch.Tensor:
    """What the serving encoder makes of TEXT."""
    encoder = TextEncoder.load(Artifact.open(folder), ENGINE, InputLimits())
    return torch.from_numpy(encoder.forward([encoder.preprocess(TEXT)]))


def computed(folder: Path) -> tuple[torch.nn.Module, torch.Tensor]:
    """The artifact's network with other weights than it has, and what that makes of TEXT."""
    encoder, network = load_trainable(folder)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
        return network, network.eval()(**encoder.forward([encoder.preprocess(TEXT)]))


def test_without_a_base_all_weights_are_stored(tmp_path: Path) -> None:
    """In half precision; the config names no base."""
    artifact = Artifact.open(write(tmp_path / "text", rnn(tmp_path), tmp_path))

    _, network = load_trainable(artifact.path)
    assert artifact.weights().keys() == network.state_dict().keys()
    assert {weight.dtype for weight in artifact.weights().values()} == {torch.float16}
    assert "base" not in artifact.config


def test_random_weights_are_of_torchs_seed(tmp_path: Path) -> None:
    """So a run begins the same whenever it begins."""
    versions = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        versions.append(Artifact.open(write(tmp_path / "text", rnn(tmp_path), tmp_path)).version)

    assert versions[0] == versions[1] != versions[2]


def test_only_changed_weights_are_stored(tmp_path: Path, beside: Path, package: str) -> None:
    """In half precision, beside a base that is installed and named by its hash."""
    folder = write(tmp_path / "text", bert(base=package), beside)
    assert Artifact.open(folder).weights() == {}
    weights = tiny_bert().state_dict()
    weights[CHANGED] = weights[CHANGED] + 1

    write_weights(folder, weights)

    stored = Artifact.open(folder).weights()
    assert {name: weight.dtype for name, weight in stored.items()} == {CHANGED: torch.float16}
    assert not {file.name for file in folder.iterdir()} & {"base.safetensors"}


def test_the_networks_answers_come_back_through_serving(
    tmp_path: Path, beside: Path, package: str
) -> None:
    """But for the half precision of what is stored; from scratch and from a base."""
    for config in (rnn(beside), bert(), bert(base=package)):
        folder = write(tmp_path / "text", config, beside)
        network, vectors = computed(folder)
        before = served(folder)

        write_weights(folder, network.state_dict())

        assert not torch.allclose(before, vectors, atol=0.01)
        torch.testing.assert_close(served(folder), vectors, rtol=0, atol=2e-3)


def test_whole_numbers_are_stored_as_they_are(tmp_path: Path) -> None:
    """Half precision would round a count of steps."""
    folder = write(tmp_path / "text", rnn(tmp_path), tmp_path)

    write_weights(folder, {"steps": torch.tensor([100_001])})

    stored = Artifact.open(folder).weights()["steps"]
    assert (stored.dtype, stored.tolist()) == (torch.int64, [100_001])


def test_local_sources_become_part_of_the_artifact(tmp_path: Path, beside: Path) -> None:
    """It still loads where it was moved to, and the sources are gone."""
    folder = write(tmp_path / "text", bert(), beside)
    before = served(folder)

    moved = folder.rename(tmp_path / "moved")
    shutil.rmtree(beside)

    assert torch.equal(served(moved), before)
    assert {file.name for file in moved.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }


def test_an_artifact_from_a_local_base_computes_what_the_base_does(
    tmp_path: Path, beside: Path
) -> None:
    """But for its half precision."""
    folder = write(tmp_path / "text", bert(), beside)
    encoder, _ = load_trainable(folder)

    with torch.no_grad():
        expected = tiny_bert()(**encoder.forward([encoder.preprocess(TEXT)]))
    torch.testing.assert_close(served(folder), expected, rtol=0, atol=2e-3)


def test_preprocessing_is_written_with_its_defaults(tmp_path: Path, beside: Path) -> None:
    """What a later version has as defaults changes no old artifact."""
    config = Artifact.open(write(tmp_path / "text", bert(preprocess={}), beside)).config

    assert (config["preprocess"], config["preprocess_revision"]) == ({"max_tokens": 256}, 1)
    assert (config["name"], config["modality"], config["architecture"]) == ("tiny", "text", "bert")


def test_training_begins_without_what_was_learned_before(
    tmp_path: Path, beside: Path, package: str
) -> None:
    """The artifact is written over whatever was there."""
    write(tmp_path / "text", bert(), beside)

    folder = write(tmp_path / "text", bert(base=package), beside)

    assert Artifact.open(folder).weights() == {}


@pytest.mark.parametrize(
    ("modality", "settings", "reason"),
    [
        ("text", {"architecture": "bart"}, "text.architecture: 'bart' is none of bert, gpt, rnn"),
        ("text", {"model": {**BERT, "layers": 3}}, "text.model: .*'layers'"),
        ("text", {"model": {}}, "text.model: .*'vocab_size'"),
        ("text", {"preprocess": {"tokens": 3}}, "text.preprocess: .*'tokens'"),
        ("audio", {"architecture": "bert"}, "audio.architecture: 'bert' is none of whisper"),
        ("audio", {"architecture": "tcn", "model": {"mel": 3}, "preprocess": {}}, "audio.model: "),
        ("image", {"architecture": "cnn", "model": {"name": "x"}, "preprocess": {}}, "image.model"),
    ],
)
def test_what_does_not_fit_the_service_is_refused_by_its_name(
    tmp_path: Path, beside: Path, modality: str, settings: dict[str, Any], reason: str
) -> None:
    """Modality and key, as the file has them."""
    config = bert(**{"base": None, "fit": Fit(), **settings})

    with pytest.raises(ConfigError, match=reason):
        write_untrained(tmp_path / modality, "tiny", Modality(modality), config, beside)


def test_what_training_adds_to_the_config_stands_beside_the_rest(tmp_path: Path) -> None:
    """Over entries of the same names."""
    folder = write(tmp_path / "text", rnn(tmp_path), tmp_path)
    before = Artifact.open(folder).config

    add_to_config(folder, data={"train": 3})
    add_to_config(folder, data={"train": 4})

    assert Artifact.open(folder).config == {**before, "data": {"train": 4}}
