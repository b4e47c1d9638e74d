"""From a sound file to Whisper's log-mel spectrogram (Radford et al. 2022).

Two things differ from Whisper: nothing is padded to 30 s, and what lies beyond is cut off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

import torch
from torch.nn.functional import pad
from torchaudio.functional import melscale_fbanks
from torchaudio.transforms import Resample

from mesh.errors import InvalidInput
from services.audio_encoder.decode import Decoder

# What preprocessing computes from an input; a change of that raises it, and needs new artifacts.
REVISION: Final = 1

SAMPLE_RATE: Final = 16_000
N_FFT: Final = 400  # 25 ms
HOP: Final = 160  # 10 ms
FRAMES_PER_SECOND: Final = SAMPLE_RATE // HOP

# Whisper's floor of the mel powers, and how far below the loudest one (log10) all are cut off.
LEAST_POWER: Final = 1e-10
DYNAMIC_RANGE: Final = 8.0

# The largest term of a ratio of sampling rates; 441:640 (11,025 Hz) is the largest in use.
RATIO_TERM: Final = 640
# The rates whose filters are kept: more than are in use, of 1.6 MB at most.
KEPT_RATES: Final = 16


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """How an artifact wants its sounds: mel bands, and the seconds that its model can take."""

    mels: int = 80
    seconds: int = 30


@dataclass(frozen=True, slots=True)
class AudioItem:
    """One sound's log-mel spectrogram, float32 of shape (mels, frames), 100 frames a second."""

    mel: torch.Tensor
    truncated: bool

    @property
    def size(self) -> float:
        """Its seconds."""
        return self.mel.shape[1] / FRAMES_PER_SECOND


class AudioPreprocessor:
    """Turns sound files into AudioItems. Safe to call from many threads."""

    def __init__(self, config: AudioConfig, max_bytes: int, max_seconds: float) -> None:
        self.config = config
        self._whole = config.seconds * SAMPLE_RATE
        self._decode = Decoder(max_bytes, max_seconds)
        self._window = torch.hann_window(N_FFT)
        bins, highest = N_FFT // 2 + 1, SAMPLE_RATE / 2
        bands = melscale_fbanks(bins, 0.0, highest, config.mels, SAMPLE_RATE, "slaney", "slaney")
        self._bands = bands.T.contiguous()  # (mels, bins)

    def __call__(self, raw: str | bytes) -> AudioItem:
        """Decode one file and compute its spectrogram; raises as Decoder does."""
        if isinstance(raw, str):
            raise InvalidInput("a sound is the bytes of a file, not text")
        samples, rate = self._decode(raw)
        longest = self.config.seconds * rate
        waveform = to_model_rate(torch.from_numpy(samples[:longest]), rate)
        return AudioItem(self.log_mel(waveform[: self._whole]), truncated=len(samples) > longest)

    def log_mel(self, waveform: torch.Tensor) -> torch.Tensor:
        """(samples,) at 16 kHz -> (mels, frames) as Whisper scales it, a frame per started 10 ms.

        Whisper pads to its full length by zeros before anything else. What of that padding the
        last window sees is padded here too.
        """
        frames = -(-len(waveform) // HOP)
        padding = min(N_FFT, self._whole - len(waveform))
        mel = self._bands @ self._power(pad(waveform, (0, padding)))[:, :-1]
        log = mel.clamp_(min=LEAST_POWER).log10_()
        # The loudest may be a frame that sees the end and is left out.
        log = log.clamp_(min=log.max() - DYNAMIC_RANGE)[:, :frames]
        scaled: torch.Tensor = log.add_(4.0).div_(4.0)
        return scaled

    def _power(self, waveform: torch.Tensor) -> torch.Tensor:
        """(samples,) -> (bins, frames)."""
        spectrum = torch.stft(waveform, N_FFT, HOP, window=self._window, return_complex=True)
        # Not the square of `abs`: that takes longer than the transform.
        power: torch.Tensor = spectrum.real.square() + spectrum.imag.square()
        return power


def to_model_rate(waveform: torch.Tensor, rate: int) -> torch.Tensor:
    """(samples,) at `rate` Hz -> (samples,) at 16 kHz.

    The filter grows with both terms of the ratio of the rates, to gigabytes for 191,999 Hz. So the
    terms are bounded, which shifts the pitch of odd rates by less than 0.1 %.
    """
    resampled: torch.Tensor = _resample(bounded_ratio(rate))(waveform)
    return resampled


@lru_cache(KEPT_RATES)
def _resample(ratio: Fraction) -> Resample:
    """Its filter made once: that takes longer than the filtering."""
    return Resample(ratio.numerator, ratio.denominator, dtype=torch.float32)


def bounded_ratio(rate: int) -> Fraction:
    """`rate` to the model's rate, in terms that are at most RATIO_TERM."""
    ratio = Fraction(rate, SAMPLE_RATE)
    if ratio <= 1:
        return ratio.limit_denominator(RATIO_TERM)
    return 1 / (1 / ratio).limit_denominator(RATIO_TERM)


def collate(items: Sequence[AudioItem]) -> dict[str, torch.Tensor]:
    """The model's inputs for a batch: mel (items, mels, frames), and each item's own frames."""
    frames = torch.tensor([item.mel.shape[1] for item in items])
    mel = torch.zeros(len(items), len(items[0].mel), int(frames.max()))
    for row, item in zip(mel, items, strict=True):
        row[:, : item.mel.shape[1]] = item.mel
    return {"mel": mel, "frames": frames}
