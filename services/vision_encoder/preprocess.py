"""From an image file to pixels: what the file is by its content, its limits, decoding, a square.

Every mode ends as RGB over white, turned as EXIF asks; of an animation the first picture counts.
The centre square is cut out and scaled to the model's size.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from mesh.errors import InvalidInput, TooLarge, UnsupportedFormat

# What preprocessing computes from an input; a change of that raises it, and needs new artifacts.
# Another way to the same, which is off by rounding alone and moves no score on dev, does not.
REVISION: Final = 2

# How the files of each format begin. BMP's two letters alone would take in "BMW is a car", so the
# size of its second header is asked for too.
SIGNATURES: Final = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00", re.DOTALL),
}

# Each scan of a progressive JPEG goes over all its pixels again and may take only some 60 bytes, so
# a file of many would be decoded for hours. Encoders write about ten; a preview inside has its own.
SCAN: Final = b"\xff\xda"
MAX_SCANS: Final = 100

# The last chunk of a PNG, without which Pillow still takes it.
PNG_END: Final = b"IEND\xaeB`\x82"

# What undoes each value of EXIF's Orientation; 1 is upright.
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Large pictures are first averaged down by a whole number (a JPEG while it is decoded), which saves
# most of the time and memory. Twice the model's size keeps what the fine scaling after it needs.
ROUGH: Final = 2


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How an artifact wants its pictures.

    `size` is the square's side in pixels; `crop` the part of the shorter side that the square
    takes; a value x of 0 to 255 becomes (x - mean) / std.
    """

    size: int = 224
    crop: float = 1.0
    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    std: tuple[float, float, float] = (128.0, 128.0, 128.0)


@dataclass(frozen=True, slots=True)
class ImageItem:
    """One picture, uint8 of shape (3, size, size). As bytes it takes a quarter of the queue.

    Channels are last in memory.
    """

    pixels: npt.NDArray[np.uint8]

    @property
    def size(self) -> float:
        """Its pixels, the same for every picture."""
        return float(self.pixels[0].size)

    @property
    def truncated(self) -> bool:
        """Never: a picture is scaled, not cut off."""
        return False


class ImagePreprocessor:
    """Turns image files into ImageItems. Safe to call from many threads."""

    def __init__(self, config: ImageConfig, max_bytes: int, max_pixels: int) -> None:
        self.config = config
        self.max_bytes = max_bytes
        self.max_pixels = max_pixels
        # As wide as a row of pixels: numpy takes many times longer over the three values alone.
        self._mean = np.tile(np.asarray(config.mean, np.float32), config.size)
        self._std = np.tile(np.asarray(config.std, np.float32), config.size)

    def __call__(self, raw: str | bytes) -> ImageItem:
        """Decode one file and scale it.

        Raises TooLarge over `max_bytes` or `max_pixels`, UnsupportedFormat for a file of no known
        format, InvalidInput for one that is empty, cut off or broken.
        """
        if isinstance(raw, str):
            raise InvalidInput("an image is the bytes of a file, not text")
        if not raw:
            raise InvalidInput("the image is empty")
        if len(raw) > self.max_bytes:
            raise TooLarge(f"the image has {len(raw)} bytes, more than {self.max_bytes}")
        square = self._decode(raw, sniff(raw))
        return ImageItem(scaled(square, self.config.size))

    def collate(self, items: Sequence[ImageItem]) -> dict[str, npt.NDArray[np.float32]]:
        """The model's input for a batch: float32 of shape (items, 3, size, size).

        Channels are last in memory: as pictures come, and as convolutions on a CPU are fastest.
        """
        size = self.config.size
        pixels = np.empty((len(items), size, 3 * size), np.float32)
        for row, item in zip(pixels, items, strict=True):
            np.subtract(item.pixels.transpose(1, 2, 0).reshape(row.shape), self._mean, out=row)
        pixels /= self._std
        return {"pixels": pixels.reshape(-1, size, size, 3).transpose(0, 3, 1, 2)}

    def _decode(self, data: bytes, kind: str) -> Image.Image:
        if kind == "JPEG" and scans(data) > MAX_SCANS:
            raise InvalidInput(f"the JPEG image has more than {MAX_SCANS} scans")
        try:
            with Image.open(BytesIO(data), formats=[kind]) as image:
                self._check_pixels(image)
                square = self._square(image)
        except TooLarge:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise TooLarge(f"the image has more pixels than {self.max_pixels}") from error
        except Exception as error:  # Pillow's parsers raise whatever they stumble over.
            raise InvalidInput(f"the {kind} image is cut off or broken") from error
        if kind == "PNG" and data.rfind(PNG_END) < 0:  # It is at the end.
            raise InvalidInput("the PNG image is cut off")
        return square

    def _check_pixels(self, image: Image.Image) -> None:
        """Judge by the header: until here nothing was decoded."""
        width, height = image.size
        if width * height > self.max_pixels:
            raise TooLarge(f"the image has {width} x {height} pixels, more than {self.max_pixels}")

    def _square(self, image: Image.Image) -> Image.Image:
        """The centre square, upright, in RGB, and never much larger than the model's."""
        rough = ROUGH * self.config.size
        image.draft(None, (round(rough / self.config.crop),) * 2)
        image.load()
        turn = UPRIGHT.get(orientation(image) or 1)
        side = max(1, round(min(image.size) * self.config.crop))
        left, top = ((length - side) // 2 for length in image.size)
        box = (left, top, left + side, top + side)
        square = over_white(continuous(image).reduce(max(1, side // rough), box))
        return square if turn is None else square.transpose(turn)


def sniff(data: bytes) -> str:
    """The format that the bytes are of; UnsupportedFormat if none of SIGNATURES."""
    for kind, signature in SIGNATURES.items():
        if signature.match(data):
            return kind
    raise UnsupportedFormat(f"the image is none of {', '.join(SIGNATURES)}")


def scans(data: bytes) -> int:
    """How often SCAN is in the data. numpy takes a quarter of the time of `data.count`."""
    values = np.frombuffer(data, np.uint8)
    return int(np.count_nonzero((values[:-1] == SCAN[0]) & (values[1:] == SCAN[1])))


def orientation(image: Image.Image) -> int | None:
    """EXIF's Orientation, a key of UPRIGHT or 1; None where the picture has none."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Broken metadata says nothing against the pixels.
        return None


def continuous(image: Image.Image) -> Image.Image:
    """The picture in a mode whose values can be averaged, 8 bit and perhaps with alpha."""
    if image.mode.startswith("I"):  # 16 bit grey, which `convert` would clip at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB") if image.mode in ("1", "P") else image


def over_white(image: Image.Image) -> Image.Image:
    """The picture in RGB; where it is transparent, white shows through."""
    if "A" not in image.mode:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def scaled(square: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """A square in RGB -> uint8 (3, size, size), channels last in memory; bicubic, antialiased."""
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
