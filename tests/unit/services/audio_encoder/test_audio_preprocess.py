"""From samples to a log-mel spectrogram."""

import numpy as np
import pytest

from mesh.errors import InvalidInput, TooLarge
from services.audio_encoder.preprocess import (
    RATIO_TERM,
    AudioConfig,
    AudioPreprocessor,
    bounded_ratio,
    collate,
    to_model_rate,
)
from services.audio_encoder.spectrogram import SAMPLE_RATE
from tests.media import sound, tone

preprocess = AudioPreprocessor(AudioConfig(), max_bytes=20_000_000, max_seconds=60.0)


def test_a_second_has_a_hundred_frames() -> None:
    """Of 80 mel bands, in the size's unit of seconds."""
    item = preprocess(sound(tone(1.0)))

    assert item.mel.shape == (80, 100)
    assert item.mel.dtype == np.float32
    assert (item.size, item.truncated) == (1.0, False)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (160, 1), (161, 2), (399, 3), (400, 3)])
def test_each_started_hundredth_is_a_frame(samples: int, frames: int) -> None:
    """Also of a sound that is shorter than a window."""
    mel = preprocess(sound(tone()[:samples])).mel

    assert mel.shape == (80, frames)
    assert np.isfinite(mel).all()


def test_silence_is_the_floor_everywhere() -> None:
    """log10 of the least power, scaled; numpy's may be off by its last digit."""
    mel = preprocess(sound(np.zeros(1600))).mel

    assert mel == pytest.approx((-10 + 4) / 4, abs=1e-6)
    assert len(np.unique(mel)) == 1


def test_a_tone_is_loudest_where_its_pitch_is() -> None:
    """The bands go up with the pitch."""
    low, high = (preprocess(sound(tone(hertz=hertz))).mel.mean(1).argmax() for hertz in (300, 3000))

    assert low < high


def test_thirty_seconds_are_whole() -> None:
    """That is what the model takes."""
    item = preprocess(sound(tone(30.0)))

    assert (item.size, item.truncated) == (30.0, False)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_what_is_longer_is_cut_and_says_so(rate: int) -> None:
    """One sample more is cut off."""
    samples = np.append(tone(30.0, rate), 0.1)
    item = preprocess(sound(samples, rate))

    assert (item.size, item.truncated) == (30.0, True)


def test_beyond_the_limit_it_is_too_large() -> None:
    """What the model cuts and what the caller may send are different limits."""
    with pytest.raises(TooLarge, match="longer than 60 s"):
        preprocess(sound(tone(60.1, 8_000), 8_000))


def test_text_is_no_sound() -> None:
    """The Encoder contract lets callers pass str."""
    with pytest.raises(InvalidInput, match="not text"):
        preprocess("voice.wav")


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000, 191_999])
def test_the_rate_does_not_matter(rate: int) -> None:
    """The same tone at another rate has nearly the same spectrum."""
    mel = preprocess(sound(tone(1.0, rate), rate, subtype="FLOAT")).mel
    expected = preprocess(sound(tone(1.0), subtype="FLOAT")).mel

    assert mel.shape[1] in (100, 101)
    loud = expected > expected.max() - 1
    assert abs(mel[:, :100] - expected)[loud].max() < 0.1


@pytest.mark.parametrize("rate", [8_000, 11_025, 12_000, 16_000, 22_050, 44_100, 48_000, 176_400])
def test_the_ratio_of_usual_rates_is_exact(rate: int) -> None:
    """Nothing is shifted."""
    assert bounded_ratio(rate) * SAMPLE_RATE == rate


def test_the_ratio_of_any_rate_is_bounded_and_near() -> None:
    """Its terms bound the filter's size; the pitch is off by less than 0.1 %."""
    for rate in range(8_000, 192_001, 97):
        ratio = bounded_ratio(rate)
        assert max(ratio.numerator, ratio.denominator) <= RATIO_TERM
        assert abs(float(ratio) * SAMPLE_RATE / rate - 1) < 0.001


def test_one_sample_survives_a_lower_rate() -> None:
    """A sound never becomes none."""
    assert len(to_model_rate(np.ones(1, np.float32), 192_000)) == 1


def test_a_batch_is_padded_by_zeros() -> None:
    """And says how long each sound is."""
    short, long = preprocess(sound(tone(0.5))), preprocess(sound(tone(1.0)))
    batch = collate([short, long])

    assert batch["frames"].tolist() == [50, 100]
    assert batch["mel"].shape == (2, 80, 100)
    assert not batch["mel"][0, :, 50:].any()
