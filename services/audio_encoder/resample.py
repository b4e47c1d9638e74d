"""From any sampling rate to another one, by a low pass of windowed sincs.

The filter is torchaudio's (`resample`, sinc_interp_hann), whose import takes a node 130 MB.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import sparse

from services.audio_encoder.decode import Samples

# On each side of a sample the filter has so many zeros, and it ends at so much of the lower Nyquist
# frequency. Both are torchaudio's defaults.
ZEROS: Final = 6
ROLLOFF: Final = 0.99
# Samples of the input that are filtered at a time, at least: the filter's ends overlap.
STEP: Final = 512
# The rates whose filters are kept: more than are in use.
KEPT_RATES: Final = 16


def resample(waveform: Samples, ratio: Fraction) -> Samples:
    """(samples,) at a rate -> (samples x ratio, rounded up) at the rate times `ratio`."""
    if ratio == 1:
        return waveform
    bank = _bank(ratio)
    steps = len(waveform) // bank.step + 1
    padded = np.zeros(steps * bank.step + 2 * bank.width, np.float32)
    padded[bank.width : bank.width + len(waveform)] = waveform
    windows = sliding_window_view(padded, bank.step + 2 * bank.width)[:: bank.step]
    found: Samples = (bank.taps @ np.ascontiguousarray(windows.T)).T.ravel()
    return found[: math.ceil(len(waveform) * ratio)]


@dataclass(frozen=True, slots=True)
class _Bank:
    """What gives `taps.shape[0]` samples for `step` of the input and `width` on each side."""

    taps: Any  # float32 in scipy's csr: most are zero.
    step: int
    width: int


@lru_cache(KEPT_RATES)
def _bank(ratio: Fraction) -> _Bank:
    new, old = ratio.numerator, ratio.denominator
    # In cycles per `old` samples of the input.
    lowest = min(old, new) * ROLLOFF
    width = math.ceil(ZEROS * old / lowest)
    times = -(-STEP // old)
    outputs = np.arange(times * new)[:, None] / new
    inputs = np.arange(-width, times * old + width) / old
    distance = (inputs - outputs) * lowest
    window = np.cos(distance * np.pi / ZEROS / 2) ** 2 * (abs(distance) < ZEROS)
    taps = np.sinc(distance) * window * lowest / old
    return _Bank(sparse.csr_array(taps.astype(np.float32)), times * old, width)
