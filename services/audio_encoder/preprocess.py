"""From a sound file to Whisper's log-mel spectrogram (Radford et al. 2022).

Two things differ from Whisper: nothing is padded to 30 s, and what lies beyond is cut off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mesh.errors import InvalidInput
from services.audio_encoder.decode import Decoder, Samples
from services.audio_encoder.resample import resample
from services.audio_encoder.spectrogram import (
    FRAMES_PER_SECOND,
    SAMPLE_RATE,
    LogMel,
    Spectrogram,
)

# What preprocessing computes from an input; a change of that raises it, and needs new artifacts.
# Another way to the same, which is off by rounding alone and moves no score on dev, does not.
REVISION: Final = 1

# The largest term of a ratio of sampling rates; 441:640 (11,025 Hz) is the largest in use.
RATIO_TERM: Final = 640


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """How an artifact wants its sounds: mel bands, and the seconds that its model can take."""

    mels: int = 80
    seconds: int = 30


@dataclass(frozen=True, slots=True)
class AudioItem:
    """One sound's log-mel spectrogram, float32 of shape (mels, frames), 100 frames a second."""

    mel: Spectrogram
    truncated: bool

    @property
    def size(self) -> float:
        """Its seconds."""
        return int(self.mel.shape[1]) / FRAMES_PER_SECOND


class AudioPreprocessor:
    """Turns sound files into AudioItems. Safe to call from many threads."""

    def __init__(self, config: AudioConfig, max_bytes: int, max_seconds: float) -> None:
        self.config = config
        self._whole = config.seconds * SAMPLE_RATE
        self._decode = Decoder(max_bytes, max_seconds)
        self._log_mel = LogMel(config.mels, self._whole)

    def __call__(self, raw: str | bytes) -> AudioItem:
        """Decode one file and compute its spectrogram; raises as Decoder does."""
        if isinstance(raw, str):
            raise InvalidInput("a sound is the bytes of a file, not text")
        samples, rate = self._decode(raw)
        longest = self.config.seconds * rate
        waveform = to_model_rate(samples[:longest], rate)
        return AudioItem(self._log_mel(waveform[: self._whole]), truncated=len(samples) > longest)


def to_model_rate(waveform: Samples, rate: int) -> Samples:
    """(samples,) at `rate` Hz -> (samples,) at 16 kHz.

    The filter grows with both terms of the ratio of the rates, to gigabytes for 191,999 Hz. So the
    terms are bounded, which shifts the pitch of odd rates by less than 0.1 %.
    """
    return resample(waveform, 1 / bounded_ratio(rate))


def bounded_ratio(rate: int) -> Fraction:
    """`rate` to the model's rate, in terms that are at most RATIO_TERM."""
    ratio = Fraction(rate, SAMPLE_RATE)
    if ratio <= 1:
        return ratio.limit_denominator(RATIO_TERM)
    return 1 / (1 / ratio).limit_denominator(RATIO_TERM)


def collate(items: Sequence[AudioItem], longest: int = 0) -> dict[str, npt.NDArray[Any]]:
    """The model's inputs for a batch: mel (items, mels, frames), and each item's own frames.

    Padded to `longest` frames, or to the longest sound where that has more.
    """
    frames = np.array([item.mel.shape[1] for item in items])
    shape = len(items), len(items[0].mel), max(longest, int(frames.max()))
    mel = np.zeros(shape, np.float32)
    for row, item in zip(mel, items, strict=True):
        row[:, : item.mel.shape[1]] = item.mel
    return {"mel": mel, "frames": frames}
