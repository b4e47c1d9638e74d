"""From a sound file to samples: what it is by its content, its limits, decoding to one channel.

    decoder = Decoder(max_bytes, max_seconds)
    samples, rate = decoder(data)       # float32 (samples,), Hz

Bytes are looked at before libsndfile sees them, and what it decodes is counted, not believed.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
from soundfile import LibsndfileError, SoundFile

from mesh.errors import InvalidInput, TooLarge, UnsupportedFormat

RATES: Final = range(8_000, 192_000 + 1)  # Hz
CHANNELS: Final = range(1, 8 + 1)
BLOCK: Final = 65_536  # frames decoded at a time

# Far above any sound, also where somebody stored 32 bit integers as floats; well below where the
# squares of a spectrum leave float32.
LOUDEST: Final = 2.0**31

# How the files of each format begin. MP3 starts with a tag or with a frame of MPEG layer III.
SIGNATURES: Final = {
    "WAV": re.compile(rb"RIFF.{4}WAVE", re.DOTALL),
    "FLAC": re.compile(rb"fLaC"),
    "OGG": re.compile(rb"OggS"),
    "MP3": re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"),
}

# What libsndfile calls the contents that are read here. It knows many more, seldom used and
# seldom tested, which are better not fed by strangers.
_WAV_CONTENTS: Final = {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"}
CONTENTS: Final = {
    "WAV": _WAV_CONTENTS,
    "WAVEX": _WAV_CONTENTS,
    "FLAC": {"PCM_S8", "PCM_16", "PCM_24"},
    "OGG": {"VORBIS"},
    "MP3": {"MPEG_LAYER_III"},
}

# A program that writes a WAV into a pipe can't know its length, and states one from here on.
STREAMED: Final = 0x7FFF0000
# More chunks before a WAV's data than any program writes.
MAX_CHUNKS: Final = 1000
# libsndfile's length of a FLAC that doesn't state its own.
UNKNOWN: Final = 2**63 - 1
# The fixed part of an Ogg page's header, whose last byte counts the lengths that follow.
OGG_HEADER: Final = 27
OGG_IS_LAST: Final = 0x04

Samples = npt.NDArray[np.float32]


class Stream(SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound that is read once from its start to its end.

    A SoundFile seeks after each block to where it already is, and an MP3 decoder that has to seek
    repeats or loses samples.
    """

    def seekable(self) -> bool:
        """No."""
        return False


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes sound files within its limits. Safe to call from many threads."""

    max_bytes: int
    max_seconds: float

    def __call__(self, data: bytes) -> tuple[Samples, int]:
        """A file's samples, float32 of shape (samples,) in one channel, and its rate in Hz.

        Raises TooLarge over a limit, UnsupportedFormat for a file of no known format, InvalidInput
        for one that is empty, cut off or broken, has no samples or some that are no numbers, or
        whose rate or channels are out of range. A cut-off MP3 can't be told from a shorter one:
        its frames stand alone, and nothing reliable says how many they are.
        """
        if not data:
            raise InvalidInput("the sound is empty")
        if len(data) > self.max_bytes:
            raise TooLarge(f"the sound has {len(data)} bytes, more than {self.max_bytes}")
        kind = sniff(data)
        try:
            with Stream(BytesIO(data)) as sound:
                return self._read(sound, data)
        except LibsndfileError as error:
            raise InvalidInput(f"the {kind} sound is broken: {error.error_string}") from error

    def _read(self, sound: Stream, data: bytes) -> tuple[Samples, int]:
        _check_header(sound)
        samples = np.concatenate([np.zeros(0, np.float32), *self._blocks(sound)])
        if len(samples) == 0:
            raise InvalidInput("the sound has no samples")
        if _is_cut_off(sound, data, len(samples)):
            raise InvalidInput(f"the {sound.format} sound is cut off")
        return samples, sound.samplerate

    def _blocks(self, sound: Stream) -> Iterator[Samples]:
        """One channel, block by block up to the limit; the header's length is not believed."""
        left = int(self.max_seconds * sound.samplerate)
        while len(block := sound.read(BLOCK, dtype="float32", always_2d=True)):
            left -= len(block)
            if left < 0:
                raise TooLarge(f"the sound is longer than {self.max_seconds:g} s")
            # The least and the greatest of any and NaN are NaN, of which nothing is true.
            if not (block.min() >= -LOUDEST and block.max() <= LOUDEST):
                raise InvalidInput("the sound has samples that are no numbers, or out of range")
            # Channel by channel: `mean` goes frame by frame, which takes ten times longer.
            yield sum(block.T) / block.shape[1]


def sniff(data: bytes) -> str:
    """The format that the bytes are of; UnsupportedFormat if none of SIGNATURES."""
    for kind, signature in SIGNATURES.items():
        if signature.match(data):
            return kind
    raise UnsupportedFormat(f"the sound is none of {', '.join(SIGNATURES)}")


def _check_header(sound: Stream) -> None:
    if sound.subtype not in CONTENTS.get(sound.format, ()):
        raise UnsupportedFormat(f"{sound.format} sound of kind {sound.subtype} is not read here")
    if sound.samplerate not in RATES:
        raise InvalidInput(f"the sound's rate is {sound.samplerate} Hz, not 8 to 192 kHz")
    if sound.channels not in CHANNELS:
        raise InvalidInput(f"the sound has {sound.channels} channels, not 1 to 8")


def _is_cut_off(sound: Stream, data: bytes, decoded: int) -> bool:
    if sound.format == "MP3":
        return False
    is_short: bool = decoded < sound.frames < UNKNOWN
    return is_short or (sound.format in _IS_CUT and _IS_CUT[sound.format](data))


def _is_cut_wav(data: bytes) -> bool:
    """Whether the data chunk claims more bytes than there are; libsndfile reads what there is."""
    chunk = struct.Struct("<4sI")
    start = len(b"RIFF....WAVE") + chunk.size
    for _ in range(MAX_CHUNKS):
        if start > len(data):
            return True
        name, size = chunk.unpack_from(data, start - chunk.size)
        if name == b"data":
            return bool(len(data) - start < size < STREAMED)
        start += size + size % 2 + chunk.size
    return False


def _is_cut_ogg(data: bytes) -> bool:
    """Whether the last page is not marked as such, or not whole (RFC 3533, section 6)."""
    page = data[data.rfind(b"OggS") :]
    if len(page) < OGG_HEADER or not page[5] & OGG_IS_LAST:
        return True
    segments = page[OGG_HEADER - 1]
    return len(page) < OGG_HEADER + segments + sum(page[OGG_HEADER : OGG_HEADER + segments])


_IS_CUT: Final = {"WAV": _is_cut_wav, "WAVEX": _is_cut_wav, "OGG": _is_cut_ogg}
