"""Inputs as they get worse: words missing or misspelt, dark or noisy pictures, poor lines.

Severity 0 is the input as it is; each of 1 to 4 is worse than the one before. What comes out is
again what a caller could send: a text with words in it, a PNG file, a WAV file.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image, ImageEnhance, ImageFilter

from mesh.embedding import Modality
from mesh.encoding import Raw
from mesh.settings import InputLimits
from services.audio_encoder.decode import Decoder
from services.vision_encoder.preprocess import UPRIGHT, continuous, orientation, over_white

SEVERITIES: Final = range(5)
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"

# The grains along a picture's longer side at most. Finer ones are averaged away before any model
# sees them, and the same noise would mean less in a larger picture.
GRAINS: Final = 512

Rng = np.random.Generator
Array = npt.NDArray[Any]
Change = Callable[[Raw, float, Rng], Raw]


@dataclass(frozen=True, slots=True)
class Corruption:
    """One way to get worse: `levels` of `unit` at the severities from 1 on."""

    unit: str
    levels: tuple[float, ...]
    apply: Change


def corrupt(modality: Modality, kind: str, severity: int, raw: Raw, rng: Rng) -> Raw:
    """The input at one of SEVERITIES; `kind` is a key of CORRUPTIONS[modality]."""
    if severity == 0:
        return raw
    corruption = CORRUPTIONS[modality][kind]
    return corruption.apply(raw, corruption.levels[severity - 1], rng)


def _drop_words(raw: Raw, share: float, rng: Rng) -> Raw:
    """Each word is lost with the same probability, but never all of them."""
    words = _text(raw).split()
    fate = rng.random(len(words))
    return " ".join(word for word, f in zip(words, fate, strict=True) if f >= min(share, max(fate)))


def _misspell(raw: Raw, share: float, rng: Rng) -> Raw:
    """Each letter is, with the same probability, left out, doubled or another one."""
    text = _text(raw)
    misspelt = "".join(
        _typo(letter, rng) if letter.isalpha() and rng.random() < share else letter
        for letter in text
    )
    return misspelt if misspelt.strip() else text


def _typo(letter: str, rng: Rng) -> str:
    return ("", letter * 2, LETTERS[rng.integers(len(LETTERS))])[rng.integers(3)]


def _text(raw: Raw) -> str:
    return raw if isinstance(raw, str) else raw.decode()


def _of_picture(change: Callable[[Image.Image, float, Rng], Image.Image]) -> Change:
    """A change of RGB pictures as one of image files."""

    def apply(raw: Raw, level: float, rng: Rng) -> Raw:
        assert isinstance(raw, bytes)
        return _png(change(_picture(raw), level, rng))

    return apply


def _png(picture: Image.Image) -> bytes:
    """The picture as a file that serving takes: only one that is too large for it is halved."""
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    is_too_large = file.tell() > InputLimits().max_image_bytes
    return _png(picture.reduce(2)) if is_too_large else file.getvalue()


def _picture(raw: bytes) -> Image.Image:
    """The picture upright, in RGB over white, as serving sees it, but of its own size."""
    with Image.open(BytesIO(raw)) as file:
        file.load()
        turn = UPRIGHT.get(orientation(file) or 1)
        picture = over_white(continuous(file))
    return picture if turn is None else picture.transpose(turn)


def _add_grain(image: Image.Image, deviation: float, rng: Rng) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    height, width, channels = pixels.shape
    side = math.ceil(max(height, width) / GRAINS)
    shape = (math.ceil(height / side), math.ceil(width / side), channels)
    grain = (deviation * rng.standard_normal(shape)).astype(np.float32)
    noisy = pixels + grain.repeat(side, 0)[:height].repeat(side, 1)[:, :width]
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def _blur(image: Image.Image, share: float, rng: Rng) -> Image.Image:
    del rng  # A lens has no chance in it.
    return image.filter(ImageFilter.GaussianBlur(share * min(image.size)))


def _darken(image: Image.Image, brightness: float, rng: Rng) -> Image.Image:
    del rng
    return ImageEnhance.Brightness(image).enhance(brightness)


def _of_sound(change: Callable[[Array, float, float, Rng], Array]) -> Change:
    """A change of samples at a rate as one of sound files, in one channel as serving hears it."""

    def apply(raw: Raw, level: float, rng: Rng) -> Raw:
        assert isinstance(raw, bytes)
        limits = InputLimits()
        samples, rate = Decoder(limits.max_audio_bytes, limits.max_audio_seconds)(raw)
        changed = change(samples.astype(np.float64), rate, level, rng)
        changed /= max(1.0, np.abs(changed).max())  # Quieter rather than clipped.
        file = BytesIO()
        soundfile.write(file, changed, rate, format="WAV", subtype="PCM_16")
        return file.getvalue()

    return apply


def _add_noise(samples: Array, rate: float, decibels: float, rng: Rng) -> Array:
    del rate
    power = np.square(samples).mean() / 10 ** (decibels / 10)
    noisy: Array = samples + np.sqrt(power) * rng.standard_normal(len(samples))
    return noisy


def _cut_highs(samples: Array, rate: float, hertz: float, rng: Rng) -> Array:
    del rng
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / rate) > hertz] = 0
    return np.fft.irfft(spectrum, len(samples))


CORRUPTIONS: Final[Mapping[Modality, Mapping[str, Corruption]]] = {
    Modality.TEXT: {
        "dropped words": Corruption("share of the words", (0.15, 0.3, 0.5, 0.7), _drop_words),
        "typos": Corruption("share of the letters", (0.03, 0.07, 0.15, 0.3), _misspell),
    },
    Modality.IMAGE: {
        "noise": Corruption(
            "standard deviation, of 255", (8.0, 16.0, 32.0, 64.0), _of_picture(_add_grain)
        ),
        "blur": Corruption(
            "radius, of the shorter side", (0.01, 0.02, 0.04, 0.08), _of_picture(_blur)
        ),
        "darkness": Corruption("brightness left", (0.6, 0.35, 0.2, 0.1), _of_picture(_darken)),
    },
    Modality.AUDIO: {
        "noise": Corruption("signal to noise, dB", (20.0, 10.0, 5.0, 0.0), _of_sound(_add_noise)),
        "low-pass": Corruption(
            "highest frequency, Hz", (4000.0, 2000.0, 1000.0, 500.0), _of_sound(_cut_highs)
        ),
    },
}
