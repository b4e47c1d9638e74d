"""Pictures and sounds as files, made for tests."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file of a format."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def gradient(mode: str = "RGB", size: tuple[int, int] = (60, 40)) -> Image.Image:
    """A picture that is dark on the left and bright on the right."""
    row = np.linspace(0, 255, size[0]).astype(np.uint8)
    return Image.fromarray(np.tile(row, (size[1], 1))).convert(mode)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kB that claims so many grey pixels, all black."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000))
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def tone(seconds: float = 1.0, rate: int = 16_000, hertz: float = 440.0) -> npt.NDArray[np.float64]:
    """A sine of a quarter of full scale, one channel."""
    return 0.25 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def sound(
    samples: npt.ArrayLike, rate: int = 16_000, kind: str = "WAV", subtype: str | None = None
) -> bytes:
    """The samples, (frames,) or (frames, channels), as a file of a format."""
    file = BytesIO()
    soundfile.write(file, np.asarray(samples), rate, format=kind, subtype=subtype)
    return file.getvalue()
