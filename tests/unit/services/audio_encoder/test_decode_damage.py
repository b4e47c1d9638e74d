"""Sound files that are cut off, damaged, or say what is not so."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import InputError, InvalidInput
from services.audio_encoder.decode import _is_cut_wav
from tests.media import sound
from tests.unit.services.audio_encoder.sounds import FILES, TONE, decode

WHOLE = [name for name in FILES if not name.startswith("MP3")]
WAV = FILES["WAV PCM_16"]
DATA_SIZE = slice(40, 44)


def with_data_size(size: int) -> bytes:
    """The 16 bit WAV with another size of its data chunk."""
    data = bytearray(WAV)
    data[DATA_SIZE] = struct.pack("<I", size)
    return bytes(data)


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
