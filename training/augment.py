"""Other inputs that an example could have been: pictures, recordings and their spectrograms vary.

Examples are few and alike; a user's are from anywhere. All randomness is the caller's `rng`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torchaudio.functional import mask_along_axis
from torchvision.transforms import v2

from mesh.embedding import Modality
from mesh.encoding import Raw

Array = npt.NDArray[np.float64]

PITCH: Final = (0.88, 1.14)
# The highest frequency that a poor line lets through, in Hz; of a third of the copies.
BAND: Final = (2500.0, 6000.0)
NARROW_SHARE: Final = 0.3
# Signal to noise, in decibels.
SIGNAL_TO_NOISE: Final = (10.0, 35.0)
LOUDNESS: Final = (-15.0, 6.0)

# SpecAugment (Park et al. 2019): the widest bands of a spectrogram that are hidden.
MASKED_MELS: Final = 16
MASKED_FRAMES: Final = 40

# A random gain for each of a picture's channels: training pictures may all be grey, a user's not.
TINT: Final = 0.15

PICTURE: Final = v2.Compose(
    [
        v2.RandomHorizontalFlip(),
        v2.RandomAffine(
            degrees=12,
            translate=(0.1, 0.1),
            scale=(0.9, 1.15),
            interpolation=v2.InterpolationMode.BILINEAR,
        ),
        v2.ColorJitter(brightness=0.25, contrast=0.25),
        v2.RandomErasing(p=0.25, scale=(0.02, 0.12)),
    ]
)


def augment_sound(raw: Raw, rng: np.random.Generator) -> bytes:
    """A changed copy of a sound file, as 16-bit WAV: speed, band, noise and loudness."""
    assert isinstance(raw, bytes)
    samples, rate = soundfile.read(BytesIO(raw), dtype="float32", always_2d=True)
    length = len(samples)
    # Cut where it becomes longer: a sound at the limit must stay within it.
    samples = _stretch(samples.mean(axis=1), rng.uniform(*PITCH))[:length]
    if rng.random() < NARROW_SHARE:
        samples = _low_pass(samples, rng.uniform(*BAND) / rate)
    power = np.square(samples).mean() / _ratio(rng.uniform(*SIGNAL_TO_NOISE))
    samples = samples + np.sqrt(power) * rng.standard_normal(len(samples))
    samples = samples * np.sqrt(_ratio(rng.uniform(*LOUDNESS)))
    file = BytesIO()
    soundfile.write(file, samples.clip(-1, 1), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def augment_spectrogram(item: Any, rng: np.random.Generator) -> Any:
    """An AudioItem with a band of its mels and one of its frames set to their mean."""
    with _seeded(rng):
        mean = float(item.mel.mean())
        mel = mask_along_axis(torch.from_numpy(item.mel)[None], MASKED_MELS, mean, axis=1)
        frames = min(MASKED_FRAMES, item.mel.shape[1] // 5)
        mel = mask_along_axis(mel, frames, mean, axis=2) if frames else mel
    return replace(item, mel=mel[0].numpy())


def augment_picture(item: Any, rng: np.random.Generator) -> Any:
    """An ImageItem turned, shifted, scaled, lit and tinted otherwise, with a spot missing."""
    with _seeded(rng):
        pixels = PICTURE(torch.tensor(item.pixels)).float()
    gain = torch.from_numpy(rng.uniform(1 - TINT, 1 + TINT, (3, 1, 1)).astype(np.float32))
    return replace(item, pixels=(pixels * gain).clamp(0, 255).to(torch.uint8).numpy())


def _same(one: Any, rng: np.random.Generator) -> Any:
    del rng
    return one


AUGMENT_RAW: Final[Mapping[Modality, Callable[[Raw, np.random.Generator], Raw]]] = {
    Modality.TEXT: _same,
    Modality.IMAGE: _same,
    Modality.AUDIO: augment_sound,
}
AUGMENT_ITEM: Final[Mapping[Modality, Callable[[Any, np.random.Generator], Any]]] = {
    Modality.TEXT: _same,
    Modality.IMAGE: augment_picture,
    Modality.AUDIO: augment_spectrogram,
}


@contextmanager
def _seeded(rng: np.random.Generator) -> Iterator[None]:
    """Let torch draw from a seed of `rng`'s, and afterwards go on as if it had not drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        yield


def _stretch(samples: Array, speed: float) -> Array:
    """Faster and higher, or slower and lower."""
    places = np.arange(max(1, int(len(samples) / speed))) * speed
    stretched: Array = np.interp(places, np.arange(len(samples)), samples)
    return stretched


def _low_pass(samples: Array, frequency: float) -> Array:
    """Nothing above a frequency, which is in cycles per sample."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples)) > frequency] = 0
    filtered: Array = np.fft.irfft(spectrum, len(samples))
    return filtered


def _ratio(decibels: float) -> float:
    """Of two powers."""
    return float(10 ** (decibels / 10))
