"""Inputs that get worse, and stay what serving accepts."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from mesh.embedding import Modality
from mesh.encoding import Raw
from services.audio_encoder.decode import Decoder
from services.vision_encoder.preprocess import ImageConfig, ImagePreprocessor
from tests.media import encoded, gradient, sound, tone
from training.robustness import CORRUPTIONS, GRAINS, SEVERITIES, corrupt

TEXT = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, "
    "it was the age of foolishness, it was the epoch of belief, it was the season of light"
)
STRIPES = Image.fromarray(np.tile(np.arange(60) // 6 % 2 * 200 + 20, (40, 1)).astype(np.uint8))
INPUTS: dict[Modality, Raw] = {
    Modality.TEXT: TEXT,
    Modality.IMAGE: encoded(STRIPES, "PNG"),
    Modality.AUDIO: sound(tone(0.5) + tone(0.5, hertz=6000.0), rate=16_000),
}
KINDS = [(modality, kind) for modality, kinds in CORRUPTIONS.items() for kind in kinds]


def worse(
    modality: Modality, kind: str, severity: int, raw: Raw | None = None, seed: int = 0
) -> Any:
    """An input at a severity."""
    rng = np.random.default_rng(seed)
    return corrupt(modality, kind, severity, INPUTS[modality] if raw is None else raw, rng)


def pixels(raw: bytes) -> np.ndarray:
    """A picture's values."""
    return np.asarray(Image.open(BytesIO(raw)).convert("RGB"), float)


def samples(raw: bytes) -> np.ndarray:
    """A sound's values."""
    return soundfile.read(BytesIO(raw))[0]


@pytest.mark.parametrize(("modality", "kind"), KINDS)
def test_severity_0_is_the_input_itself(modality: Modality, kind: str) -> None:
    """Byte for byte."""
    assert worse(modality, kind, 0) is INPUTS[modality]


@pytest.mark.parametrize(("modality", "kind"), KINDS)
def test_the_same_seed_makes_the_same_input(modality: Modality, kind: str) -> None:
    """And every severity another one."""
    made = [worse(modality, kind, severity) for severity in SEVERITIES]
    assert made == [worse(modality, kind, severity) for severity in SEVERITIES]
    assert len(set(made)) == len(SEVERITIES)


@pytest.mark.parametrize("text", ["word", " a ", "é", "???", "日本語"])
@pytest.mark.parametrize("kind", CORRUPTIONS[Modality.TEXT])
def test_a_text_is_never_empty(kind: str, text: str) -> None:
    """However short it was."""
    for seed in range(20):
        assert worse(Modality.TEXT, kind, 4, text, seed).strip()


def test_words_are_dropped_at_their_share_in_order() -> None:
    """What stays is of the text."""
    words = [str(number) for number in range(1000)]
    left = [int(word) for word in worse(Modality.TEXT, "dropped words", 2, " ".join(words)).split()]
    assert left == sorted(left)
    assert len(left) == pytest.approx(700, abs=50)


def test_typos_are_in_letters_alone() -> None:
    """Signs, digits and spaces stay, and most letters."""
    text = worse(Modality.TEXT, "typos", 2, "abc, 123 " * 100)
    assert "".join(letter for letter in text if not letter.isalpha()) == ", 123 " * 100
    assert 0 < abs(text.count("abc") - 100) < 40


@pytest.mark.parametrize("kind", CORRUPTIONS[Modality.IMAGE])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "I;16", "1"])
def test_pictures_of_any_mode_become_png_files(kind: str, mode: str) -> None:
    """Which serving reads."""
    if mode == "I;16":
        wide = np.linspace(0, 65_535, 60 * 40).reshape(40, 60).astype(np.uint16)
        raw = encoded(Image.fromarray(wide), "PNG")
    else:
        raw = encoded(gradient(mode), "TIFF" if mode == "CMYK" else "PNG")
    png = worse(Modality.IMAGE, kind, 1, raw)
    read = ImagePreprocessor(ImageConfig(size=32), 10**6, 10**6)(png)
    assert read.pixels.shape == (3, 32, 32)
    assert pixels(png).std() > 20  # There still is something in it.


def test_noise_has_the_deviation_that_it_says() -> None:
    """Where nothing is cut at black or white."""
    grey = Image.new("RGB", (100, 100), (128, 128, 128))
    noisy = pixels(worse(Modality.IMAGE, "noise", 2, encoded(grey, "PNG")))
    assert noisy.std() == pytest.approx(16, rel=0.05)
    assert noisy.mean() == pytest.approx(128, abs=0.5)


def test_blur_takes_edges_away_and_darkness_light() -> None:
    """And neither what the other takes."""
    edge = Image.new("RGB", (40, 40), "black")
    edge.paste("white", (20, 0, 40, 40))
    raw = encoded(edge, "PNG")
    blurred, dark = (pixels(worse(Modality.IMAGE, kind, 3, raw)) for kind in ("blur", "darkness"))
    assert np.abs(np.diff(blurred, axis=1)).max() < 128
    assert blurred.mean() == pytest.approx(127.5, abs=2)
    assert dark.max() == pytest.approx(255 * 0.2, abs=1)


def test_a_picture_is_upright_over_white_and_of_its_own_size() -> None:
    """As serving sees it: nothing but what a kind says may be changed."""
    clear = encoded(Image.new("RGBA", (8, 4), (0, 0, 0, 0)), "PNG")
    assert pixels(worse(Modality.IMAGE, "blur", 1, clear)).min() == 255
    exif = Image.Exif()
    exif[0x0112] = 6  # Taken with the camera on its side.
    turned = encoded(gradient(size=(1200, 600)), "JPEG", exif=exif)
    assert pixels(worse(Modality.IMAGE, "blur", 1, turned)).shape == (1200, 600, 3)


def test_noise_is_as_coarse_in_a_large_picture() -> None:
    """Finer grains would be averaged away before a model sees them."""
    grey = Image.new("RGB", (2 * GRAINS, 101), (128, 128, 128))

    noisy = pixels(worse(Modality.IMAGE, "noise", 2, encoded(grey, "PNG")))

    assert noisy.shape == (101, 2 * GRAINS, 3)
    assert (noisy[:100:2] == noisy[1::2]).all()
    assert noisy[::2, ::2].std() == pytest.approx(16, rel=0.05)


def test_what_comes_out_is_within_the_limit_of_serving(monkeypatch: pytest.MonkeyPatch) -> None:
    """A noisy PNG may be larger than the file that it was made of."""
    monkeypatch.setenv("MESH_MAX_IMAGE_BYTES", "30000")
    raw = encoded(gradient(size=(200, 160)), "JPEG")

    png = worse(Modality.IMAGE, "noise", 4, raw)

    assert pixels(png).shape == (80, 100, 3)
    ImagePreprocessor(ImageConfig(size=32), 30_000, 10**6)(png)


@pytest.mark.parametrize("kind", CORRUPTIONS[Modality.AUDIO])
def test_sounds_keep_rate_and_length_and_are_not_clipped(kind: str) -> None:
    """A FLAC of two channels becomes a WAV of one."""
    both = np.stack([tone(0.5, rate=22_050), tone(0.5, rate=22_050)], axis=1) * 3.9
    raw = sound(both, rate=22_050, kind="FLAC")
    for severity in SEVERITIES[1:]:
        changed = worse(Modality.AUDIO, kind, severity, raw)
        heard, rate = Decoder(10**7, 60)(changed)
        assert (rate, len(heard)) == (22_050, 11_025)
        assert (np.abs(heard) >= 0.9999).sum() <= 2


def test_noise_is_as_loud_as_its_ratio_says() -> None:
    """10 dB: a tenth of the sound's power."""
    clean = tone(1.0)
    noise = samples(worse(Modality.AUDIO, "noise", 2, sound(clean))) - clean
    ratio = np.square(clean).mean() / np.square(noise).mean()
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.2)


def test_low_pass_leaves_what_is_low() -> None:
    """Of two tones only the one below 4 kHz."""
    heard = samples(worse(Modality.AUDIO, "low-pass", 1))
    assert heard == pytest.approx(tone(0.5), abs=0.001)


def test_silence_stays_silence() -> None:
    """Noise is measured by the sound, and there is none."""
    silence = sound(np.zeros(1600))
    assert not samples(worse(Modality.AUDIO, "noise", 4, silence)).any()
