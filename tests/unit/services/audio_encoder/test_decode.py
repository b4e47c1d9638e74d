"""From a sound file to samples."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mesh.errors import InvalidInput, TooLarge, UnsupportedFormat
from services.audio_encoder.decode import CHANNELS
from tests.media import sound, tone
from tests.unit.services.audio_encoder.sounds import FILES, TONE, decode


@pytest.mark.parametrize("name", FILES)
def test_each_format_gives_the_same_samples(name: str) -> None:
    """They are of full scale 1, but for the loss of 8 bits or of a lossy format."""
    samples, rate = decode(FILES[name])

    assert (samples.dtype, rate) == (np.float32, 16_000)
    assert len(samples) == len(TONE)
    assert abs(samples[2000:6000] - TONE[2000:6000]).mean() < 0.01


@pytest.mark.parametrize("channels", CHANNELS)
def test_channels_are_averaged(channels: int) -> None:
    """One channel is left, their mean."""
    levels = np.linspace(0, 0.5, channels)
    samples, _ = decode(sound(np.tile(levels, (100, 1)), kind="WAV", subtype="FLOAT"))

    assert samples == pytest.approx(np.full(100, levels.mean()), abs=1e-6)


@pytest.mark.parametrize("name", FILES)
def test_many_blocks_give_what_one_gives(name: str) -> None:
    """A long file is decoded without a seam, MP3 included."""
    kind, subtype = name.split()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 150_000)
    data = sound(noise, 16_000, kind, subtype)
    samples, _ = decode(data)

    assert len(samples) == len(noise)
    if kind != "MP3":
        assert np.corrcoef(samples, noise)[0, 1] > 0.9
    else:
        assert samples[65_000:66_000].std() == pytest.approx(samples.std(), rel=0.2)


def test_a_single_sample_is_a_sound() -> None:
    """However short."""
    assert len(decode(sound([0.5]))[0]) == 1


def test_silence_is_a_sound() -> None:
    """Zeros are samples like others."""
    assert not decode(sound(np.zeros(100)))[0].any()


@pytest.mark.parametrize("rate", [8_000, 192_000])
def test_the_limits_of_the_rate_are_taken(rate: int) -> None:
    """8 and 192 kHz themselves."""
    assert decode(sound(TONE, rate))[1] == rate


@pytest.mark.parametrize("rate", [7_999, 192_001, 1])
def test_other_rates_are_invalid(rate: int) -> None:
    """A rate that is out of range is the caller's fault."""
    with pytest.raises(InvalidInput, match=f"{rate} Hz"):
        decode(sound(TONE, rate))


def test_nine_channels_are_invalid() -> None:
    """One more than eight."""
    with pytest.raises(InvalidInput, match="9 channels"):
        decode(sound(np.zeros((10, 9))))


@pytest.mark.parametrize("sample", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_no_numbers_are_invalid(sample: float, subtype: str) -> None:
    """One of them is enough, and so is one that no spectrum could hold."""
    samples = TONE.copy()
    samples[-1] = sample
    with pytest.raises(InvalidInput, match="no numbers"):
        decode(sound(samples, subtype=subtype))


def test_a_double_that_no_float_holds_is_invalid() -> None:
    """It would become infinite."""
    with pytest.raises(InvalidInput, match="no numbers"):
        decode(sound([1e300], subtype="DOUBLE"))


@pytest.mark.parametrize("kind", ["WAV", "OGG"])
def test_no_samples_are_invalid(kind: str) -> None:
    """A header alone is no sound."""
    with pytest.raises(InvalidInput, match=r"no samples|malformed"):
        decode(sound(np.zeros(0), kind=kind))


def test_an_empty_file_is_invalid() -> None:
    """There is no format to speak of."""
    with pytest.raises(InvalidInput, match="empty"):
        decode(b"")


@pytest.mark.parametrize("name", FILES)
def test_a_sound_of_just_the_limit_is_taken(name: str) -> None:
    """Ten seconds are not more than ten seconds."""
    kind, subtype = name.split()

    assert len(decode(sound(tone(10.0, 8_000), 8_000, kind, subtype))[0]) == 80_000


@pytest.mark.parametrize("name", FILES)
def test_a_longer_sound_is_too_large(name: str) -> None:
    """A tenth of a second more is refused."""
    kind, subtype = name.split()
    with pytest.raises(TooLarge, match="longer than 10 s"):
        decode(sound(tone(10.1, 8_000), 8_000, kind, subtype))


def test_a_file_over_the_limit_of_bytes_is_too_large() -> None:
    """Its content is not looked at."""
    with pytest.raises(TooLarge, match="bytes"):
        decode(b"?" * 4_000_001)


@pytest.mark.parametrize(
    "data",
    [
        b"just some text, whatever its name says",
        b"RIFF\x24\0\0\0WEBPVP8 ",
        b"FORM\0\0\0\x24AIFFCOMM",
        b"\xff\xfeu\0t\0f\x001\x006\0",
        b"\xff\xd8\xff\xe0",
        b"RIF",
        bytes(1000),
    ],
)
def test_other_formats_are_unsupported(data: bytes) -> None:
    """What a file is, its first bytes tell."""
    with pytest.raises(UnsupportedFormat, match="WAV, FLAC, OGG, MP3"):
        decode(data)


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "OPUS"), ("WAV", "ULAW"), ("WAV", "GSM610")])
def test_other_contents_are_unsupported(kind: str, subtype: str) -> None:
    """A format that holds what is not listed is refused."""
    with pytest.raises(UnsupportedFormat, match=subtype):
        decode(sound(tone(0.5, 8_000), 8_000, kind, subtype))


def test_many_threads_get_what_one_gets() -> None:
    """Decoding holds no state."""
    files = [*FILES.values()] * 5
    with ThreadPoolExecutor(8) as threads:
        decoded = [*threads.map(decode, files)]

    assert all(
        (samples == decode(data)[0]).all()
        for (samples, _), data in zip(decoded, files, strict=True)
    )
