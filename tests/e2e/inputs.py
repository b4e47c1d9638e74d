"""Inputs for end-to-end tests: the samples, and any number of small ones that differ."""

import itertools
import struct
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from tests.media import encoded, sound, tone

ROOT: Final = Path(__file__).parents[2]
TEXT: Final = (ROOT / "samples/text.txt").read_text(encoding="utf-8")
IMAGE: Final = (ROOT / "samples/smile.jpg").read_bytes()
AUDIO: Final = (ROOT / "samples/voice.wav").read_bytes()

_numbers = itertools.count(1)


def new_number() -> int:
    """A number that this run has not seen; safe to call from any thread."""
    return next(_numbers)


def new_text() -> str:
    """A sentence that was never sent before."""
    return f"Guest number {new_number()} was so glad to see the sea again."


def new_image() -> bytes:
    """A small picture that was never sent before."""
    picture = Image.new("RGB", (64, 64), "orange")
    picture.putpixel((0, 0), tuple(new_number().to_bytes(3, "big")))
    return encoded(picture, "PNG")


def new_audio() -> bytes:
    """A third of a second of sound that was never sent before."""
    samples = (32767 * tone(0.33)).astype("<i2")
    samples[:2] = np.frombuffer(struct.pack("<i", new_number()), "<i2")
    return sound(samples)
