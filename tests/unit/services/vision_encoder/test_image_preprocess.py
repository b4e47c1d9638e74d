"""From an image file to pixels."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from services.vision_encoder.preprocess import ImageConfig, ImagePreprocessor
from tests.media import encoded, gradient
from tests.unit.services.vision_encoder.pictures import FILES, SIZE, preprocess


def pixels(data: bytes) -> np.ndarray:
    """The pixels as int, (3, SIZE, SIZE)."""
    return preprocess(data).pixels.astype(int)


@pytest.mark.parametrize("name", FILES)
def test_each_format_gives_the_same_picture(name: str) -> None:
    """The pixels don't depend on how they were stored, but for a lossy format's loss."""
    assert abs(pixels(FILES[name]) - pixels(FILES["PNG"])).mean() < 2


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_each_mode_of_a_png_gives_the_same_picture(mode: str) -> None:
    """Grey, palette and alpha end as the same RGB."""
    palette = gradient("L").quantize(256) if mode == "P" else gradient("L").convert(mode)

    assert abs(pixels(encoded(palette, "PNG")) - pixels(FILES["PNG"])).mean() < 2


def test_a_black_and_white_picture_is_read() -> None:
    """One bit a pixel."""
    picture = Image.new("1", (9, 9), 1)

    assert (pixels(encoded(picture, "PNG")) == 255).all()


def test_a_16_bit_picture_keeps_its_shades() -> None:
    """65,535 is white and not everything above 255."""
    deep = Image.fromarray(np.asarray(gradient("L")).astype(np.uint16) * 257)

    assert abs(pixels(encoded(deep, "PNG")) - pixels(FILES["PNG"])).mean() < 2


def test_a_cmyk_jpeg_is_read() -> None:
    """Print's colours end as RGB."""
    data = encoded(gradient().convert("CMYK"), "JPEG", quality=95)

    assert abs(pixels(data) - pixels(FILES["PNG"])).mean() < 2


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_is_transparent_is_white(mode: str) -> None:
    """Alpha is laid over white."""
    assert (pixels(encoded(Image.new(mode, (9, 9)), "PNG")) == 255).all()


@pytest.mark.parametrize(("mode", "colour"), [("L", 0), ("P", 0), ("RGB", (0, 0, 0))])
def test_a_transparent_colour_is_white(mode: str, colour: int | tuple[int, ...]) -> None:
    """A PNG may name a colour that is not to be seen."""
    data = encoded(Image.new(mode, (9, 9)), "PNG", transparency=colour)

    assert (pixels(data) == 255).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_picture_counts(kind: str) -> None:
    """The others are not looked at."""
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("white", "black")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])

    assert (pixels(data) > 250).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_upright(orientation: int, kind: str) -> None:
    """Each of EXIF's eight orientations ends as the same picture."""
    upright = Image.new("RGB", (32, 32), "black")
    upright.paste("white", (16, 0, 32, 8))  # unlike itself in each of the eight
    undo = {5: Image.Transpose.TRANSPOSE, 7: Image.Transpose.TRANSVERSE}
    undo |= {2: Image.Transpose.FLIP_LEFT_RIGHT, 4: Image.Transpose.FLIP_TOP_BOTTOM}
    undo |= {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}
    undo |= {8: Image.Transpose.ROTATE_270}
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation

    found = pixels(encoded(stored, kind, exif=exif, quality=100))

    assert abs(found - pixels(encoded(upright, "PNG"))).mean() < 6


@pytest.mark.parametrize("exif", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\0"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_metadata_does_not_matter(exif: bytes, kind: str) -> None:
    """The picture is taken as it is stored."""
    data = encoded(gradient(), kind, exif=exif)

    assert pixels(data).shape == (3, SIZE, SIZE)


def test_the_centre_square_is_taken() -> None:
    """Of a wide picture both sides are left out."""
    wide = Image.new("RGB", (300, 100), "black")
    wide.paste("white", (100, 0, 200, 100))

    assert (pixels(encoded(wide, "PNG")) > 250).mean() > 0.9


def test_a_smaller_part_of_the_centre_may_be_taken() -> None:
    """`crop` is the part of the shorter side."""
    framed = Image.new("RGB", (100, 100), "black")
    framed.paste("white", (25, 25, 75, 75))
    half = ImagePreprocessor(ImageConfig(SIZE, crop=0.5), 100_000, 1_000_000)

    assert (half(encoded(framed, "PNG")).pixels == 255).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 999), (999, 1), (3, 2)])
def test_any_shape_is_taken(size: tuple[int, int]) -> None:
    """Also a single pixel, and a strip."""
    assert pixels(encoded(gradient(size=size), "PNG")).shape == (3, SIZE, SIZE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_large_picture_looks_like_a_small_one(kind: str) -> None:
    """What is averaged down first differs little from the picture scaled at once."""
    found = pixels(encoded(gradient(size=(900, 900)), kind, quality=95))
    exact = np.asarray(gradient(size=(900, 900)).resize((SIZE, SIZE), Image.Resampling.BICUBIC))

    assert abs(found - exact.transpose(2, 0, 1)).mean() < 2


def test_an_item_knows_its_size() -> None:
    """All pictures cost the same, and none is truncated."""
    item = preprocess(FILES["PNG"])

    assert (item.size, item.truncated) == (SIZE * SIZE, False)


def test_the_model_sees_values_about_zero() -> None:
    """127 becomes 0 and 255 becomes 1, as the network was trained."""
    white = encoded(Image.new("RGB", (9, 9), "white"), "PNG")
    grey = encoded(Image.new("RGB", (9, 9), (127, 127, 127)), "PNG")
    batch = preprocess.collate([preprocess(white), preprocess(grey)])["pixels"]

    assert batch.shape == (2, 3, SIZE, SIZE)
    assert batch.mean((1, 2, 3)).tolist() == [1.0, 0.0]


def test_many_threads_get_what_one_gets() -> None:
    """Preprocessing holds no state."""
    files = [*FILES.values()] * 10
    with ThreadPoolExecutor(8) as threads:
        items = [*threads.map(preprocess, files)]

    assert all(
        np.array_equal(item.pixels, preprocess(data).pixels)
        for item, data in zip(items, files, strict=True)
    )
