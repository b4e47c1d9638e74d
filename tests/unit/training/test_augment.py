"""Changed copies of recordings."""

from io import BytesIO

import numpy as np
import pytest
import soundfile

from tests.media import sound, tone
from training.augment import augment, augmented
from training.data import Labelled


@pytest.fixture
def voices() -> Labelled:
    """Two clips of one second."""
    return Labelled([sound(tone(1.0)), sound(tone(1.0, hertz=200.0))], np.array([3, 5]), ["a", "b"])


def test_a_copy_is_a_wav_file_of_the_same_rate(voices: Labelled) -> None:
    """Nearly as long, and within full scale."""
    for seed in range(10):
        samples, rate = soundfile.read(
            BytesIO(augment(voices.inputs[0], np.random.default_rng(seed)))
        )

        assert rate == 16_000
        assert 0.85 < len(samples) / rate < 1.15
        assert np.abs(samples).max() <= 1


def test_copies_keep_their_originals_class_and_source(voices: Labelled) -> None:
    """All originals once, then all again."""
    copies = augmented(voices, 3, seed=0)

    assert copies.labels.tolist() == [3, 5] * 3
    assert copies.sources == ["a", "b"] * 3
    assert len(set(copies.inputs)) == 6


def test_the_same_seed_makes_the_same_copies(voices: Labelled) -> None:
    """So that their embeddings are computed once."""
    assert augmented(voices, 2, seed=1).inputs == augmented(voices, 2, seed=1).inputs
    assert augmented(voices, 2, seed=1).inputs != augmented(voices, 2, seed=2).inputs


def test_silence_stays_silence() -> None:
    """Noise is measured by the signal, and there is none."""
    samples, _ = soundfile.read(BytesIO(augment(sound(np.zeros(1600)), np.random.default_rng(0))))

    assert not samples.any()
