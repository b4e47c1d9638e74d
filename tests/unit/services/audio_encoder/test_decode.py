"""From a sound file to samples."""

import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import InputError, InvalidInput, TooLarge, UnsupportedFormat
from services.audio_encoder.decode import CHANNELS, Decoder, _is_cut_wav
from tests.media import sound, tone

decode = Decoder(max_bytes=4_000_000, max_seconds=10.0)

TONE = tone(0.5)
FILES = {
    f"{kind} {subtype}": sound(TONE, 16_000, kind, subtype)
    for kind, subtype in (
        ("WAV", "PCM_U8"),
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "PCM_32"),
        ("WAV", "FLOAT"),
        ("WAV", "DOUBLE"),
        ("WAVEX", "PCM_16"),
        ("FLAC", "PCM_S8"),
        ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"),
    )
}
WHOLE = [name for name in FILES if not name.startswith("MP3")]
WAV = FILES["WAV PCM_16"]
WAV_HEADER = 44
DATA_SIZE = slice(40, 44)


def with_data_size(size: int) -> bytes:
    """The 16 bit WAV with another size of its data chunk."""
    data = bytearray(WAV)
    data[DATA_SIZE] = struct.pack("<I", size)
    return bytes(data)


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


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.9])
def test_a_file_that_is_cut_off_is_invalid(name: str, part: float) -> None:
    """What is missing is not made up."""
    data = FILES[name]
    with pytest.raises(InvalidInput):
        decode(data[: max(12, int(len(data) * part))])


@pytest.mark.parametrize("name", ["WAV PCM_16", "FLAC PCM_16", "OGG VORBIS"])
def test_a_file_without_its_last_byte_is_invalid(name: str) -> None:
    """One byte less than the file says is too few."""
    with pytest.raises(InvalidInput):
        decode(FILES[name][:-1])


def test_a_cut_off_mp3_is_a_shorter_sound() -> None:
    """Its frames stand alone, so nothing tells that some are missing."""
    data = FILES["MP3 MPEG_LAYER_III"]

    assert 0 < len(decode(data[: len(data) // 2])[0]) < len(TONE)


@pytest.mark.parametrize("pages", [1, 2])
def test_an_ogg_without_its_last_page_is_invalid(pages: int) -> None:
    """The last page says that it is the last."""
    data = sound(np.random.default_rng(0).uniform(-1, 1, 60_000), kind="OGG", subtype="VORBIS")
    for _ in range(pages):
        data = data[: data.rfind(b"OggS")]

    with pytest.raises(InvalidInput, match="cut off"):
        decode(data)


def test_a_flac_with_fewer_samples_than_it_says_is_invalid() -> None:
    """It was cut between two frames."""
    data = bytearray(FILES["FLAC PCM_16"])
    data[22:26] = struct.pack(">I", 2 * len(TONE))  # STREAMINFO's number of samples
    with pytest.raises(InvalidInput, match="cut off"):
        decode(bytes(data))


def test_a_flac_that_does_not_say_its_length_is_taken() -> None:
    """An encoder that writes into a pipe leaves zero."""
    data = bytearray(FILES["FLAC PCM_16"])
    data[22:26] = bytes(4)

    assert len(decode(bytes(data))[0]) == len(TONE)


@pytest.mark.parametrize("size", [0x7FFF0000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_is_taken(size: int) -> None:
    """A program that can't know the length states the largest that there is."""
    assert len(decode(with_data_size(size))[0]) == len(TONE)


def test_a_wav_may_have_chunks_before_its_data() -> None:
    """Also one of odd length, which is padded."""
    extra = b"note" + struct.pack("<I", 3) + b"abc\0"
    data = WAV[:36] + extra + WAV[36:]

    assert len(decode(data)[0]) == len(TONE)
    with pytest.raises(InvalidInput, match="cut off"):
        decode(data[:-2])


def test_a_wav_whose_chunks_reach_beyond_it_is_cut_off() -> None:
    """libsndfile refuses it by itself; no other decoder need be trusted to."""
    assert _is_cut_wav(b"RIFF....WAVE" + b"note" + struct.pack("<I", 1000))


def test_a_wav_of_empty_chunks_ends() -> None:
    """Thousands of them are not walked through."""
    data = WAV[:36] + (b"note" + bytes(4)) * 5000 + WAV[36:]

    assert len(decode(data)[0]) == len(TONE)


def test_an_mp3_with_a_false_length_is_read_to_the_limit() -> None:
    """What its header claims is not believed."""
    data = bytearray(FILES["MP3 MPEG_LAYER_III"])
    tag = max(data.find(b"Xing"), data.find(b"Info"))
    data[tag + 8 : tag + 12] = struct.pack(">I", 2**31)

    assert len(TONE) <= len(decode(bytes(data))[0]) < 2 * len(TONE)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 2**16), st.binary(max_size=8)), max_size=5),
)
def test_whatever_the_bytes_it_is_the_callers_fault(
    name: str, damage: list[tuple[int, bytes]]
) -> None:
    """A damaged file is read or refused, and never an error of ours."""
    data = bytearray(FILES[name])
    for place, patch in damage:
        place %= len(data)
        data[place : place + len(patch)] = patch
    try:
        samples, _ = decode(bytes(data))
    except InputError:
        return
    assert np.isfinite(samples).all()


def test_many_threads_get_what_one_gets() -> None:
    """Decoding holds no state."""
    files = [*FILES.values()] * 5
    with ThreadPoolExecutor(8) as threads:
        decoded = [*threads.map(decode, files)]

    assert all(
        (samples == decode(data)[0]).all()
        for (samples, _), data in zip(decoded, files, strict=True)
    )
