"""Image files that are too large, of no known format, cut off or damaged."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mesh.errors import InputError, InvalidInput, TooLarge, UnsupportedFormat
from services.vision_encoder.preprocess import SCAN, ImageConfig, ImagePreprocessor
from tests.media import bomb, encoded
from tests.unit.services.vision_encoder.pictures import FILES, SIZE, preprocess


def test_a_file_over_the_limit_of_bytes_is_too_large() -> None:
    """Its content is not looked at."""
    with pytest.raises(TooLarge, match="100001 bytes"):
        preprocess(b"?" * 100_001)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_file_over_the_limit_of_pixels_is_too_large(kind: str) -> None:
    """1001 x 1000 pixels are more than a million."""
    data = encoded(Image.new("L", (1001, 1000)).convert("P" if kind == "BMP" else "L"), kind)
    roomy = ImagePreprocessor(ImageConfig(SIZE), 10_000_000, 1_000_000)

    with pytest.raises(TooLarge, match="1001 x 1000 pixels"):
        roomy(data)


@pytest.mark.parametrize("side", [1001, 10_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_judged_by_its_header(side: int) -> None:
    """A PNG of a few kB that claims many pixels is not decoded."""
    assert len(bomb(side, side)) < 10_000
    with pytest.raises(TooLarge, match="pixels"):
        preprocess(bomb(side, side))


def test_an_empty_file_is_invalid() -> None:
    """There is no format to speak of."""
    with pytest.raises(InvalidInput, match="empty"):
        preprocess(b"")


def test_text_is_no_picture() -> None:
    """The Encoder contract lets callers pass str."""
    with pytest.raises(InvalidInput, match="not text"):
        preprocess("picture.png")


@pytest.mark.parametrize(
    "data",
    [
        b"just some text, whatever its name says",
        b"BMW is a car, and this is not a bitmap",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"II*\0" + bytes(100),
        b"\x89PNG",
        bytes(1000),
    ],
)
def test_other_formats_are_unsupported(data: bytes) -> None:
    """What a file is, its first bytes tell."""
    with pytest.raises(UnsupportedFormat, match="JPEG, PNG, WEBP, GIF, BMP"):
        preprocess(data)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_file_that_is_cut_off_is_invalid(name: str, part: float) -> None:
    """What is missing is not made up."""
    data = FILES[name]
    with pytest.raises(InvalidInput, match="cut off"):
        preprocess(data[: max(30, int(len(data) * part))])


def test_a_jpeg_of_very_many_scans_is_invalid() -> None:
    """It would take hours; one of a hundred is still decoded."""
    data = FILES["progressive JPEG"]
    last = data.rindex(SCAN)
    body, scan = data[:-2], data[last:-2]
    few, many = (body + scan * (scans - data.count(SCAN)) + data[-2:] for scans in (100, 101))
    with pytest.raises(InvalidInput, match="more than 100 scans"):
        preprocess(many)
    assert preprocess(few).pixels.shape == (3, SIZE, SIZE)


def test_what_the_decoder_says_is_not_for_the_caller() -> None:
    """Its message holds addresses of memory."""
    with pytest.raises(InvalidInput) as caught:
        preprocess(FILES["PNG"][:30])
    assert caught.value.message == "the PNG image is cut off or broken"
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP"])
def test_a_file_without_its_last_bytes_is_invalid(name: str) -> None:
    """Also where all pixels are there."""
    with pytest.raises(InvalidInput, match="cut off"):
        preprocess(FILES[name][:-1])


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.lists(st.tuples(st.integers(0, 2**16), st.binary())))
def test_whatever_the_bytes_it_is_the_callers_fault(
    name: str, damage: list[tuple[int, bytes]]
) -> None:
    """A damaged file is read or refused, and never an error of ours."""
    data = bytearray(FILES[name])
    for place, patch in damage:
        place %= len(data)
        data[place : place + len(patch)] = patch
    try:
        item = preprocess(bytes(data))
    except InputError:
        return
    assert item.pixels.shape == (3, SIZE, SIZE)
