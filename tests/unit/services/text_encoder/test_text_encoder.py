"""Artifacts of each family of text networks, behind the encoder's contract."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from mesh.artifact import Artifact, ArtifactError, sha256
from mesh.engine import EngineBuilder
from mesh.settings import InputLimits
from mesh.torch_engine import torch_engine
from services.text_encoder.encoder import TextEncoder
from services.text_encoder.preprocess import REVISION
from tests.encoder_artifacts import write_tokenizer
from tests.unit.services.text_encoder.networks import MODELS, encode, network

ENGINE: EngineBuilder = partial(torch_engine, device="cpu", dtype=torch.float32)
TEXTS = ("happy", "a glad sad happy", "is sad")


def load(folder: Path, family: str, **changes: Any) -> TextEncoder:
    """The encoder of a family's artifact without a base, some of whose config is changed."""
    tokenizer = write_tokenizer(folder / "tokenizer.json")
    config = {
        "name": "tiny",
        "architecture": family,
        "model": MODELS[family],
        "tokenizer": {"source": "path:tokenizer.json", "sha256": sha256(tokenizer)},
        "preprocess": {"max_tokens": 8},
        "preprocess_revision": REVISION,
    }
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return TextEncoder.load(Artifact.open(folder), ENGINE, InputLimits())


def write_weights(folder: Path, architecture: str) -> None:
    """All weights of a family's tiny network."""
    safetensors.torch.save_file(network(architecture).state_dict(), folder / "model.safetensors")


@pytest.mark.parametrize("architecture", MODELS)
def test_without_a_base_the_artifacts_own_weights_serve(architecture: str, tmp_path: Path) -> None:
    """What was trained from scratch is whole in it."""
    write_weights(tmp_path, architecture)
    encoder = load(tmp_path, architecture)
    items = [encoder.preprocess(text) for text in TEXTS]
    expected = encode(network(architecture), *(item.ids.tolist() for item in items))

    assert encoder.dim == expected.shape[1]
    assert encoder.forward(items) == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize("architecture", MODELS)
def test_without_a_base_no_weight_may_be_missing(architecture: str, tmp_path: Path) -> None:
    """Else the node would serve random numbers."""
    weights = network(architecture).state_dict()
    name, _ = weights.popitem()
    safetensors.torch.save_file(weights, tmp_path / "model.safetensors")

    with pytest.raises(RuntimeError, match=name):
        load(tmp_path, architecture)


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match="the architecture 'lstm' is none of bert, gpt, rnn"):
        load(tmp_path, "bert", architecture="lstm")


@pytest.mark.parametrize("architecture", MODELS)
def test_an_unknown_setting_of_a_network_is_named(architecture: str, tmp_path: Path) -> None:
    """A misspelt one would else be a default in silence."""
    with pytest.raises(TypeError, match="'hiden_size'"):
        load(tmp_path, architecture, model={**MODELS[architecture], "hiden_size": 8})


@pytest.mark.parametrize("architecture", ["bert", "gpt"])
def test_more_tokens_than_positions_are_refused(architecture: str, tmp_path: Path) -> None:
    """As many are not. A long text would else fail with its whole batch."""
    write_weights(tmp_path, architecture)
    load(tmp_path, architecture, preprocess={"max_tokens": 16})

    with pytest.raises(ArtifactError, match=r"max_tokens is 17, .* only 16 positions"):
        load(tmp_path, architecture, preprocess={"max_tokens": 17})


def test_an_rnn_takes_any_number_of_tokens(tmp_path: Path) -> None:
    """It has no positions to run out of."""
    write_weights(tmp_path, "rnn")
    encoder = load(tmp_path, "rnn", preprocess={"max_tokens": 2000})

    assert encoder.forward([encoder.preprocess("happy " * 1500)]).shape == (1, encoder.dim)


def test_a_tokenizer_of_more_tokens_than_the_network_knows_is_refused(tmp_path: Path) -> None:
    """The word that it doesn't know would else fail with its whole batch."""
    safetensors.torch.save_file(
        network("rnn", vocab_size=9).state_dict(), tmp_path / "model.safetensors"
    )
    with pytest.raises(ArtifactError, match=r"tokenizer has 10 tokens, .* only 9"):
        load(tmp_path, "rnn", model={**MODELS["rnn"], "vocab_size": 9})


def test_transformers_is_not_imported_but_for_a_gpt() -> None:
    """It would cost every other node's start three seconds of a core."""
    program = "import services.text_encoder.encoder, sys; print('transformers' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=100
    )

    assert done.stdout.strip() == "False"
