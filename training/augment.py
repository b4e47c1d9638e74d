"""Other recordings that a clip of speech could have been: pitch, band, noise and loudness change.

The clips are few and from one studio; a user's are from anywhere.
"""

from io import BytesIO
from typing import Final

import numpy as np
import soundfile

from training.data import Labelled

PITCH: Final = (0.88, 1.14)
# The highest frequency that a poor line lets through, in Hz; of a third of the copies.
BAND: Final = (2500.0, 6000.0)
NARROW_SHARE: Final = 0.3
# Signal to noise, in decibels.
SIGNAL_TO_NOISE: Final = (10.0, 35.0)
LOUDNESS: Final = (-15.0, 6.0)


def augmented(voices: Labelled, copies: int, seed: int) -> Labelled:
    """So many changed copies of each WAV file; a copy's source is its original's."""
    rng = np.random.default_rng(seed)
    inputs = [augment(raw, rng) for _ in range(copies) for raw in voices.inputs]
    return Labelled(list(inputs), np.tile(voices.labels, copies), voices.sources * copies)


def augment(raw: str | bytes, rng: np.random.Generator) -> bytes:
    """One changed copy of a WAV file, as 16-bit WAV."""
    assert isinstance(raw, bytes)
    samples, rate = soundfile.read(BytesIO(raw), dtype="float32")
    samples = _stretch(samples, rng.uniform(*PITCH))
    if rng.random() < NARROW_SHARE:
        samples = _low_pass(samples, rng.uniform(*BAND) / rate)
    power = np.square(samples).mean() / _ratio(rng.uniform(*SIGNAL_TO_NOISE))
    samples = samples + np.sqrt(power) * rng.standard_normal(len(samples))
    samples = samples * np.sqrt(_ratio(rng.uniform(*LOUDNESS)))
    file = BytesIO()
    soundfile.write(file, samples.clip(-1, 1), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _stretch(samples: np.ndarray, speed: float) -> np.ndarray:
    """Faster and higher, or slower and lower."""
    places = np.arange(int(len(samples) / speed)) * speed
    return np.interp(places, np.arange(len(samples)), samples)


def _low_pass(samples: np.ndarray, frequency: float) -> np.ndarray:
    """Nothing above a frequency, which is in cycles per sample."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples)) > frequency] = 0
    return np.fft.irfft(spectrum, len(samples))


def _ratio(decibels: float) -> float:
    """Of two powers."""
    return float(10 ** (decibels / 10))
