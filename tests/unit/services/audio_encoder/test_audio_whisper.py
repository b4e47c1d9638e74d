"""Whisper's encoder, pooled, and its published files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import safetensors.torch
import torch
from torch import nn

from services.audio_encoder.network import Network
from services.audio_encoder.whisper import read_whisper
from tests.encoder_artifacts import seeded
from tests.unit.services.audio_encoder.networks import MELS, RAGGED, encode, network, noise

EVERY: Final = {"pooled": [0, 1, 2]}
POSITIONS: Final = 50
Weights = Mapping[str, torch.Tensor]


@pytest.fixture(scope="module")
def published() -> Any:
    """transformers' own Whisper of the tiny shape, decoder and all."""
    from transformers import WhisperConfig, WhisperModel  # Here, after services has cured torch.

    config = WhisperConfig(
        num_mel_bins=MELS,
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=64,
        max_source_positions=POSITIONS,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=8,
        vocab_size=8,
        pad_token_id=0,
    )
    return seeded(WhisperModel(config))


def whole_model(weights: Weights) -> dict[str, torch.Tensor]:
    """As a file with the head that writes text has them."""
    prefixed = {f"model.{name}": weight.clone() for name, weight in weights.items()}
    return {**prefixed, "proj_out.weight": torch.zeros(8, 16)}


def without_head(weights: Weights) -> dict[str, torch.Tensor]:
    """As a file of the bare model has them."""
    return {name: weight.clone() for name, weight in weights.items()}


def statistics(layer: torch.Tensor) -> torch.Tensor:
    """(items, steps, width) -> (items, 2 x width)."""
    return torch.cat([layer.mean(1), layer.std(1, correction=0)], dim=1)


@pytest.mark.parametrize("named", [whole_model, without_head])
def test_a_published_file_gives_what_transformers_computes(
    named: Callable[[Weights], dict[str, torch.Tensor]], published: Any, tmp_path: Path
) -> None:
    """Each layer of a sound that is as long as the encoder takes; its weights fit strictly."""
    file = tmp_path / "model.safetensors"
    safetensors.torch.save_file(named(published.state_dict()), file)
    whisper = network("whisper", positions=POSITIONS, **EVERY)
    whisper.load_state_dict(read_whisper(file), strict=True)
    mel = noise(2 * POSITIONS)
    with torch.inference_mode():
        layers = published.encoder(mel[None], output_hidden_states=True).hidden_states

    expected = torch.cat([statistics(layer) for layer in layers], dim=1)
    torch.testing.assert_close(encode(whisper, mel), expected, rtol=0, atol=1e-5)


def test_a_published_file_that_lacks_a_weight_is_refused(published: Any, tmp_path: Path) -> None:
    """Only the key's missing bias is made up."""
    weights = without_head(published.state_dict())
    del weights["encoder.layers.0.self_attn.v_proj.bias"]
    safetensors.torch.save_file(weights, tmp_path / "model.safetensors")

    with pytest.raises(KeyError, match=r"layers\.0\.self_attn\.v_proj\.bias"):
        read_whisper(tmp_path / "model.safetensors")


def test_an_embedding_is_mean_and_deviation_of_each_layer() -> None:
    """Two layers of 16 numbers give 64."""
    assert network("whisper").dim == encode(network("whisper"), noise(10)).shape[1] == 64


def middle(**settings: Any) -> Network:
    """A network that pools the two lowest of three layers."""
    return network("whisper", pooled=[0, 1], **settings)


def test_the_middle_layers_are_those_of_the_whole_encoder() -> None:
    """Layers above the last that is pooled are not built, and the whole's weights still fit."""
    every, lower = network("whisper", **EVERY), middle()
    lower.load_state_dict(every.state_dict(), strict=True)

    assert {name for name in every.state_dict() if name not in lower.state_dict()} == {
        name for name in every.state_dict() if name.startswith(("layers.1.", "norm."))
    }
    torch.testing.assert_close(encode(lower, *RAGGED), encode(every, *RAGGED)[:, : lower.dim])


def test_the_whole_encoders_weights_also_fit_inside_another_module() -> None:
    """As while a classifier is trained on top."""
    every = nn.ModuleDict({"encoder": network("whisper", **EVERY)})
    lower = nn.ModuleDict({"encoder": middle()})

    assert not any(lower.load_state_dict(every.state_dict(), strict=True))


def test_more_layers_than_the_config_says_do_not_fit() -> None:
    """Then it is another encoder, and its last layer another one."""
    with pytest.raises(RuntimeError, match=r"Unexpected .*layers\.1\."):
        middle(layers=1).load_state_dict(network("whisper").state_dict())


@pytest.mark.parametrize("pooled", [[], [3], [-1, 2]])
def test_layers_that_there_are_not_can_not_be_pooled(pooled: list[int]) -> None:
    """The message says which there are."""
    with pytest.raises(ValueError, match="not some of layers 0 to 2"):
        network("whisper", pooled=pooled)
