"""The GPT-type network."""

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from services.text_encoder.model import ARCHITECTURES
from services.text_encoder.network import Network
from tests.encoder_artifacts import seeded
from tests.unit.services.text_encoder.networks import GPT, RAGGED, batch, encode, network


@pytest.fixture(scope="module")
def published() -> GPT2LMHeadModel:
    """transformers' own language model of the tiny shape."""
    model = GPT2LMHeadModel(GPT2Config(**GPT))
    seeded(model)
    return model


def hidden_states(published: GPT2LMHeadModel) -> list[torch.Tensor]:
    """What its last layer gives for each text, (tokens, width) each, in a padded batch."""
    inputs = batch(*RAGGED)
    with torch.inference_mode():
        hidden = published.transformer(**inputs).last_hidden_state
    return [row[: len(ids)] for row, ids in zip(hidden, RAGGED, strict=True)]


def loaded(file: Path, **settings: str) -> Network:
    """The network with the weights of a published file, none missing and none too many."""
    gpt = network("gpt", **settings)
    gpt.load_state_dict(ARCHITECTURES["gpt"].read(file), strict=True)
    return gpt


def write_language_model(published: GPT2LMHeadModel, folder: Path) -> Path:
    """A file as most are: prefixed names, and a head, which shares its weight with the tokens."""
    weights = {name: weight.clone() for name, weight in published.state_dict().items()}
    assert "lm_head.weight" in weights
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    return folder / "model.safetensors"


def write_older_file(published: GPT2LMHeadModel, folder: Path) -> Path:
    """A file as GPT-2's first: bare names, and the causal mask of each layer as a weight."""
    weights = dict(published.transformer.state_dict())
    for layer in range(GPT["n_layer"]):
        weights[f"h.{layer}.attn.bias"] = torch.ones(16, 16).tril().view(1, 1, 16, 16)
        weights[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.mark.parametrize("write", [write_language_model, write_older_file])
def test_a_published_file_gives_what_transformers_computes(
    write: Callable[[GPT2LMHeadModel, Path], Path], published: GPT2LMHeadModel, tmp_path: Path
) -> None:
    """It fits strictly, and the last token's vector is transformers' own."""
    expected = torch.stack([hidden[-1] for hidden in hidden_states(published)])

    found = encode(loaded(write(published, tmp_path)), *RAGGED)

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_the_mean_over_the_tokens_is_the_other_pooling(
    published: GPT2LMHeadModel, tmp_path: Path
) -> None:
    """Of the real ones alone."""
    expected = torch.stack([hidden.mean(0) for hidden in hidden_states(published)])

    found = encode(loaded(write_language_model(published, tmp_path), pooling="mean"), *RAGGED)

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_token_sees_none_that_come_after_it() -> None:
    """Its vector is the same whatever follows."""
    gpt = network("gpt")
    with torch.inference_mode():
        short, long = (
            gpt.gpt(torch.tensor([ids])).last_hidden_state for ids in ([2, 5], [2, 5, 8, 3])
        )

    torch.testing.assert_close(long[:, :2], short, rtol=0, atol=1e-6)


def test_an_unknown_pooling_is_named() -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match="the pooling 'first' is none of mean, max, last"):
        network("gpt", pooling="first")


def test_its_limits_are_those_of_its_shape() -> None:
    """Preprocessing is held to them."""
    gpt = network("gpt")

    assert (gpt.vocabulary, gpt.positions) == (GPT["vocab_size"], GPT["n_positions"])
