"""Whisper's log-mel spectrogram (Radford et al. 2022), of a sound of any length."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, sparse

from services.audio_encoder.decode import Samples

SAMPLE_RATE: Final = 16_000
N_FFT: Final = 400  # 25 ms
HOP: Final = 160  # 10 ms
FRAMES_PER_SECOND: Final = SAMPLE_RATE // HOP

# Whisper's floor of the mel powers, and how far below the loudest one (log10) all are cut off.
LEAST_POWER: Final = 1e-10
DYNAMIC_RANGE: Final = 8.0

# Slaney's mel scale: linear up to a frequency, in mels of so many hertz, and logarithmic from there
# on, so that 27 mels are a factor of 6.4.
LINEAR_TO: Final = 1000.0
HERTZ_PER_MEL: Final = 200 / 3
LOG_STEP: Final = np.log(6.4) / 27

# Windows that are transformed at a time: with more of them the processor's caches are too small.
TOGETHER: Final = 256

Spectrogram = npt.NDArray[np.float32]


class LogMel:
    """Computes spectrograms of so many `mels` for a model that takes `whole` samples."""

    def __init__(self, mels: int, whole: int) -> None:
        self._whole = whole
        # Of the periodic kind, whose end is the next one's beginning.
        self._window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
        # Each band has a few bins.
        self._bands: Any = sparse.csr_array(mel_bands(mels).astype(np.float32))

    def __call__(self, waveform: Samples) -> Spectrogram:
        """(samples,) at 16 kHz -> (mels, frames) as Whisper scales it, a frame per started 10 ms.

        Whisper pads to its full length by zeros before anything else. What of that padding the
        last window sees is padded here too.
        """
        frames = -(-len(waveform) // HOP)
        padding = min(N_FFT, self._whole - len(waveform))
        mel = self._bands @ self._power(waveform, padding)[:, :-1]
        log = np.log10(np.maximum(mel, LEAST_POWER, out=mel), out=mel)
        # The loudest may be a frame that sees the end and is left out.
        log = np.maximum(log, log.max() - DYNAMIC_RANGE, out=log)[:, :frames]
        log += 4.0
        log /= 4.0
        return np.ascontiguousarray(log)

    def _power(self, waveform: Samples, padding: int) -> Spectrogram:
        """(samples,) and so many zeros after them -> (bins, frames), each window about its frame.

        Beyond both ends the sound is mirrored.
        """
        half = N_FFT // 2
        padded = np.pad(np.pad(waveform, (0, padding)), half, mode="reflect")
        windows = sliding_window_view(padded, N_FFT)[::HOP]
        power = np.empty((half + 1, len(windows)), np.float32)
        for start in range(0, len(windows), TOGETHER):
            some = slice(start, start + TOGETHER)
            spectrum = fft.rfft(windows[some] * self._window)
            # Not the square of `abs`: that takes longer than the transform.
            part = np.square(spectrum.real)
            part += np.square(spectrum.imag)
            power[:, some] = part.T
        return power


def mel_bands(mels: int) -> npt.NDArray[np.float64]:
    """(mels, bins): triangles on Slaney's mel scale over the bins of a window, each of area 1."""
    highest = _to_mel(SAMPLE_RATE / 2)
    edges = _to_hertz(np.linspace(0, highest, mels + 2))[:, None]
    bins = np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle))
    bands: npt.NDArray[np.float64] = np.maximum(triangles, 0) * 2 / (high - low)
    return bands


def _to_mel(hertz: float) -> float:
    """Of a frequency above LINEAR_TO."""
    return float(LINEAR_TO / HERTZ_PER_MEL + np.log(hertz / LINEAR_TO) / LOG_STEP)


def _to_hertz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    above = np.maximum(mels - LINEAR_TO / HERTZ_PER_MEL, 0)
    return np.where(above > 0, LINEAR_TO * np.exp(above * LOG_STEP), mels * HERTZ_PER_MEL)
