"""Other inputs that an example could have been."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from mesh.embedding import Modality
from services.audio_encoder.preprocess import AudioItem
from services.vision_encoder.preprocess import ImageItem
from tests.media import sound, tone
from training.augment import (
    AUGMENT_ITEM,
    AUGMENT_RAW,
    augment_picture,
    augment_sound,
    augment_spectrogram,
)

SEEDS = range(12)
VOICE = sound(tone(1.0))


def rng(seed: int = 0) -> np.random.Generator:
    """All randomness that augmentation has."""
    return np.random.default_rng(seed)


def picture(size: int = 32) -> ImageItem:
    """Noise of all colours."""
    return ImageItem(rng().integers(0, 256, (3, size, size), dtype=np.uint8))


def spectrogram(frames: int = 100, mels: int = 80) -> AudioItem:
    """One that is nowhere constant."""
    mel = rng().normal(size=(mels, frames)).astype(np.float32)
    return AudioItem(mel, truncated=True)


def samples_of(raw: bytes) -> np.ndarray:
    """The samples of a sound file, (frames,)."""
    samples: np.ndarray = soundfile.read(BytesIO(raw))[0]
    return samples


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_sounds_copy_is_a_wav_file_of_the_same_rate(rate: int) -> None:
    """Of 16 bits and one channel, nearly as long, and within full scale."""
    stereo = np.stack([tone(1.0, rate), tone(1.0, rate, 220.0)], axis=1)
    for seed in SEEDS:
        info = soundfile.info(BytesIO(copy := augment_sound(sound(stereo, rate), rng(seed))))

        assert (info.format, info.subtype, info.channels) == ("WAV", "PCM_16", 1)
        assert info.samplerate == rate
        assert 0.85 < info.duration < 1.15
        assert np.abs(samples_of(copy)).max() <= 1


def test_a_sounds_copies_differ_in_pitch_and_loudness() -> None:
    """A tone of 440 Hz stays one of 386 to 500."""
    copies = [samples_of(augment_sound(VOICE, rng(seed))) for seed in SEEDS]

    hertz = [np.abs(np.fft.rfft(c)).argmax() * 16_000 / len(c) for c in copies]
    assert 385 < min(hertz) < 420 < 460 < max(hertz) < 503
    power = [np.square(c).mean() for c in copies]
    assert max(power) > 4 * min(power)


def test_some_copies_have_a_poor_lines_band() -> None:
    """About a third: noise loses what lies high, but for the little that is added after."""
    noise = sound(rng().uniform(-0.3, 0.3, 16_000))
    copies = [samples_of(augment_sound(noise, rng(seed))) for seed in range(40)]

    power = [np.square(np.abs(np.fft.rfft(copy))) for copy in copies]
    high = [spectrum[len(spectrum) * 3 // 4 :].sum() / spectrum.sum() for spectrum in power]
    assert 6 <= np.sum(np.array(high) < 0.05) <= 20


def test_silence_stays_silence() -> None:
    """Noise is measured by the signal, and there is none."""
    assert not samples_of(augment_sound(sound(np.zeros(1600)), rng())).any()


def test_a_spectrograms_copy_has_a_hidden_band_and_hidden_frames() -> None:
    """Set to the mean of all, a fifth of the frames at most; the rest is untouched."""
    item = spectrogram()
    mean = float(item.mel.mean())
    for seed in SEEDS:
        copy = augment_spectrogram(item, rng(seed))

        assert (copy.mel.shape, copy.truncated) == (item.mel.shape, True)
        hidden = copy.mel != item.mel
        assert np.unique(copy.mel[hidden]).tolist() == [np.float32(mean)]
        assert hidden.all(1).sum() <= 16
        assert hidden.all(0).sum() <= 20
        assert np.array_equal(hidden, hidden.all(1)[:, None] | hidden.all(0)[None])


@pytest.mark.parametrize("frames", [1, 4, 5, 3000])
def test_a_spectrogram_of_any_length_has_a_copy(frames: int) -> None:
    """Of the shortest no frame is hidden, of the longest 40 at most."""
    for seed in SEEDS:
        item = spectrogram(frames)
        hidden = augment_spectrogram(item, rng(seed)).mel != item.mel

        assert hidden.all(0).sum() <= min(40, frames // 5)


def test_a_silent_spectrogram_stays_as_it_is() -> None:
    """All of it is the mean already."""
    item = AudioItem(np.full((80, 30), -1.5, np.float32), truncated=False)

    assert np.array_equal(augment_spectrogram(item, rng()).mel, item.mel)


@pytest.mark.parametrize("size", [8, 32, 96])
def test_a_pictures_copy_is_a_picture_of_the_same_size(size: int) -> None:
    """Whole numbers of 0 to 255, as preprocessing gives them."""
    for seed in SEEDS:
        pixels = augment_picture(picture(size), rng(seed)).pixels

        assert (pixels.dtype, pixels.shape) == (np.uint8, (3, size, size))
        assert not np.array_equal(pixels, picture(size).pixels)


def test_a_grey_pictures_copies_are_tinted() -> None:
    """And where one is brighter than a byte can say, it is white and not dark."""
    grey = ImageItem(np.full((3, 32, 32), 250, np.uint8))
    copies = [augment_picture(grey, rng(seed)).pixels for seed in SEEDS]

    middle = np.array([np.median(copy, axis=(1, 2)) for copy in copies])
    assert (middle.max(1) > middle.min(1)).mean() > 0.7
    assert middle.min() > 120
    assert middle.max() == 255


@pytest.mark.parametrize(
    ("change", "example"),
    [
        (lambda one, r: augment_sound(VOICE, r), None),
        (lambda one, r: augment_spectrogram(one, r).mel.tobytes(), spectrogram()),
        (lambda one, r: augment_picture(one, r).pixels.tobytes(), picture()),
    ],
)
def test_all_randomness_is_the_callers(change: Any, example: Any) -> None:
    """One seed makes the same copy whatever else was drawn; nobody else's draws are others."""
    before = torch.get_rng_state()
    first = change(example, rng(1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)

    assert change(example, rng(1)) == first
    assert change(example, rng(2)) != first
    torch.set_rng_state(before)


def test_augmentation_leaves_its_example_alone() -> None:
    """The same item is augmented in another epoch."""
    item, sounding = picture(), spectrogram()
    kept = item.pixels.copy(), sounding.mel.copy()

    augment_picture(item, rng())
    augment_spectrogram(sounding, rng())

    assert np.array_equal(item.pixels, kept[0])
    assert np.array_equal(sounding.mel, kept[1])


def test_every_modality_has_its_changes() -> None:
    """Texts stay as they are; pictures change after preprocessing, sounds before and after."""
    assert set(AUGMENT_RAW) == set(AUGMENT_ITEM) == set(Modality)
    assert AUGMENT_RAW[Modality.TEXT]("a", rng()) == "a"
    assert AUGMENT_ITEM[Modality.TEXT]("a", rng()) == "a"
    assert AUGMENT_RAW[Modality.IMAGE](b"PNG", rng()) == b"PNG"
    assert AUGMENT_RAW[Modality.AUDIO](VOICE, rng()) != VOICE


def test_a_sound_never_becomes_longer() -> None:
    """One at the limit stays within it, also where it is slowed down; one of a sample stays one."""
    for seconds in (1.0, 1 / 16_000):
        for seed in SEEDS:
            changed = samples_of(augment_sound(sound(tone(seconds)), rng(seed)))
            assert 1 <= len(changed) <= 16_000 * seconds
