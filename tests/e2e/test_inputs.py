"""Every kind of file that is taken, and every one that is refused, through the real mesh."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.e2e.asking import answered, everything, predict, refused, statuses
from tests.e2e.inputs import AUDIO, IMAGE, new_image, new_text
from tests.e2e.mesh import Mesh
from tests.media import bomb, encoded, gradient, sound, tone

PICTURE = gradient("L")
RGB = gradient()
TURN = Image.Transpose.ROTATE_90


def _sixteen_bit() -> Image.Image:
    return Image.fromarray(np.arange(60 * 90, dtype=np.uint16).reshape(60, 90))


IMAGES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encoded(RGB, "JPEG"),
    "grey jpeg": lambda: encoded(PICTURE, "JPEG"),
    "cmyk jpeg": lambda: encoded(RGB.convert("CMYK"), "JPEG"),
    "progressive jpeg": lambda: encoded(RGB, "JPEG", progressive=True, quality=50),
    "png": lambda: encoded(RGB, "PNG"),
    "grey png": lambda: encoded(PICTURE, "PNG"),
    "black and white png": lambda: encoded(PICTURE.convert("1"), "PNG"),
    "grey png with alpha": lambda: encoded(PICTURE.convert("LA"), "PNG"),
    "png with alpha": lambda: encoded(RGB.convert("RGBA"), "PNG"),
    "palette png": lambda: encoded(RGB.convert("P"), "PNG"),
    "palette png with transparency": lambda: encoded(RGB.convert("P"), "PNG", transparency=0),
    "16 bit png": lambda: encoded(_sixteen_bit(), "PNG"),
    "webp": lambda: encoded(RGB, "WEBP"),
    "webp with alpha": lambda: encoded(RGB.convert("RGBA"), "WEBP", lossless=True),
    "gif": lambda: encoded(RGB, "GIF"),
    "animated gif": lambda: encoded(
        RGB, "GIF", save_all=True, append_images=[RGB.transpose(TURN).resize(RGB.size)]
    ),
    "bmp": lambda: encoded(RGB, "BMP"),
    "one pixel": lambda: encoded(Image.new("RGB", (1, 1)), "PNG"),
    "40 megapixels": lambda: encoded(Image.new("L", (8000, 5000)), "PNG"),
}

STEREO = np.stack([tone(0.5), tone(0.5)], axis=1)

SOUNDS: dict[str, Callable[[], bytes]] = {
    "8 bit wav": lambda: sound(tone(0.5), subtype="PCM_U8"),
    "16 bit wav": lambda: sound(tone(0.5), subtype="PCM_16"),
    "24 bit wav": lambda: sound(tone(0.5), subtype="PCM_24"),
    "32 bit wav": lambda: sound(tone(0.5), subtype="PCM_32"),
    "float wav": lambda: sound(tone(0.5), subtype="FLOAT"),
    "double wav": lambda: sound(tone(0.5), subtype="DOUBLE"),
    "extensible wav": lambda: sound(STEREO, kind="WAVEX", subtype="PCM_16"),
    "flac": lambda: sound(tone(0.5), kind="FLAC"),
    "24 bit flac": lambda: sound(tone(0.5), kind="FLAC", subtype="PCM_24"),
    "ogg": lambda: sound(tone(0.5), kind="OGG", subtype="VORBIS"),
    "mp3": lambda: sound(tone(0.5), kind="MP3"),
    "8 kHz": lambda: sound(tone(0.5, 8_000), 8_000),
    "44.1 kHz stereo": lambda: sound(STEREO, 44_100),
    "192 kHz": lambda: sound(tone(0.5, 192_000), 192_000),
    "8 channels": lambda: sound(np.stack([tone(0.2)] * 8, axis=1)),
    "silence": lambda: sound(np.zeros(8_000)),
    "one sample": lambda: sound([0.0]),
    "60 seconds": lambda: sound(tone(60, 8_000), 8_000),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_every_kind_of_picture_is_taken(mesh: Mesh, kind: str) -> None:
    """Any listed format, in any mode, is encoded."""
    answer = answered(predict(mesh.url, {"image": IMAGES[kind]()}))
    assert statuses(answer)["image"] == "computed"


@pytest.mark.parametrize("kind", SOUNDS)
def test_every_kind_of_sound_is_taken(mesh: Mesh, kind: str) -> None:
    """Any listed format, rate and number of channels is encoded, and so is silence."""
    answer = answered(predict(mesh.url, {"audio": SOUNDS[kind]()}))
    assert statuses(answer)["audio"] == "computed"


def test_a_turned_picture_is_turned_back(mesh: Mesh) -> None:
    """EXIF's orientation makes a picture that lies on its side the same as the upright one."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    upright = encoded(RGB, "PNG")
    lying = encoded(RGB.transpose(TURN), "PNG", exif=exif)
    plain = encoded(RGB.transpose(TURN), "PNG")
    one, two, three = (
        answered(predict(mesh.url, {"image": file}))["probabilities"]
        for file in (upright, lying, plain)
    )
    assert two == pytest.approx(one, abs=1e-4)
    assert three != pytest.approx(one, abs=1e-4)


def test_a_sound_beyond_the_models_reach_is_cut(mesh: Mesh) -> None:
    """The model hears 30 s; of a longer sound the answer says that it was cut."""
    long = sound(tone(31, 8_000), 8_000, "FLAC")
    assert answered(predict(mesh.url, {"audio": long}))["modalities"]["audio"]["truncated"]


def test_text_of_the_most_characters_is_taken(mesh: Mesh) -> None:
    """10,000 characters count as characters, however many bytes they are."""
    text = new_text().ljust(10_000, "ж")
    assert statuses(answered(predict(mesh.url, {"text": text})))["text"] == "computed"


def _not_a_number() -> bytes:
    samples = tone(0.5)
    samples[100] = np.nan
    return sound(samples, subtype="FLOAT")


def _noise(size: int) -> bytes:
    return np.random.default_rng(1).bytes(size)


BAD_FILES: dict[str, tuple[int, str, Callable[[], str | bytes]]] = {
    "text too long": (413, "text", lambda: "x" * 10_001),
    "picture of too many bytes": (413, "image", lambda: IMAGE + bytes(20_000_000)),
    "sound of too many bytes": (413, "audio", lambda: AUDIO + bytes(20_000_000)),
    "picture of 60,000 x 60,000": (413, "image", lambda: bomb(60_000, 60_000)),
    "picture just over 40 megapixels": (413, "image", lambda: bomb(8_001, 5_000)),
    "sound over 60 s": (413, "audio", lambda: sound(tone(61, 8_000), 8_000, "FLAC")),
    "text named .png": (415, "image", lambda: b"It was a dark and stormy night."),
    "tiff": (415, "image", lambda: encoded(RGB, "TIFF")),
    "picture as sound": (415, "audio", lambda: IMAGE),
    "sound as picture": (415, "image", lambda: AUDIO),
    "noise as picture": (415, "image", lambda: _noise(5000)),
    "aiff": (415, "audio", lambda: sound(tone(0.5), kind="AIFF")),
    "a-law wav": (415, "audio", lambda: sound(tone(0.5), subtype="ALAW")),
    "empty picture": (422, "image", lambda: b""),
    "empty sound": (422, "audio", lambda: b""),
    "truncated jpeg": (422, "image", lambda: IMAGE[: len(IMAGE) // 2]),
    "truncated png": (422, "image", lambda: new_image()[:-30]),
    "truncated webp": (422, "image", lambda: IMAGES["webp"]()[:-30]),
    "truncated gif": (422, "image", lambda: IMAGES["gif"]()[:-400]),
    "truncated bmp": (422, "image", lambda: IMAGES["bmp"]()[:-400]),
    "png of a signature alone": (422, "image", lambda: new_image()[:8]),
    "truncated flac": (422, "audio", lambda: SOUNDS["flac"]()[:-200]),
    "wav of a header cut short": (422, "audio", lambda: AUDIO[:20]),
    "flac of a signature alone": (422, "audio", lambda: b"fLaC" + bytes(8)),
    "wav without samples": (422, "audio", lambda: sound([])),
    "samples that are no numbers": (422, "audio", _not_a_number),
    "4 kHz": (422, "audio", lambda: sound(tone(0.5, 4_000), 4_000)),
    "384 kHz": (422, "audio", lambda: sound(tone(0.1, 384_000), 384_000)),
    "9 channels": (422, "audio", lambda: sound(np.stack([tone(0.2)] * 9, axis=1))),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_input_refuses_the_whole_request(mesh: Mesh, case: str) -> None:
    """The problem names the field that is bad, though the other two are good."""
    status, name, make = BAD_FILES[case]
    problem = refused(predict(mesh.url, everything() | {name: make()}), status)
    assert problem["field"] == name


def test_a_refusal_is_no_degradation(mesh: Mesh) -> None:
    """Faults of the caller leave the count of degraded answers alone."""
    before = mesh["gateway"].metrics().value("mesh_degraded_total")
    refused(predict(mesh.url, everything() | {"image": b"no picture"}), 415)
    assert mesh["gateway"].metrics().value("mesh_degraded_total") == before
