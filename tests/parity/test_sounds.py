"""Our numpy forms of what torchaudio computes, by torchaudio itself."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torchaudio.functional import melscale_fbanks, resample

import services  # noqa: F401  First: it lets torchaudio load.
from services.audio_encoder import resample as ours
from services.audio_encoder.preprocess import bounded_ratio
from services.audio_encoder.spectrogram import mel_bands


@pytest.mark.parametrize("mels", [40, 80, 128])
def test_the_mel_bands_are_slaneys(mels: int) -> None:
    """To the last digits of float32."""
    expected = melscale_fbanks(201, 0.0, 8000.0, mels, 16_000, "slaney", "slaney").T

    np.testing.assert_allclose(mel_bands(mels), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seconds", [0.001, 0.3, 2.0])
@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000, 191_999])
def test_a_rate_is_converted_as_by_torchaudio(rate: int, seconds: float) -> None:
    """Of any length, up and down; its own filter is of float32 and so off by some 1e-5."""
    noise = np.random.default_rng(rate).normal(0, 0.1, max(1, int(rate * seconds)))
    waveform = noise.astype(np.float32)
    ratio: Fraction = bounded_ratio(rate)
    expected = resample(torch.from_numpy(waveform), ratio.numerator, ratio.denominator)

    found = ours.resample(waveform, 1 / ratio)

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
