"""Bodies that the load is made of: real inputs, all distinct, in each server's form."""

import base64
import io
import json
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tokenizers import Tokenizer

from benchmarks.bodies import JSON, MIXES, MSGPACK, MULTIPART, TOKENIZER, stamp, write_bodies
from benchmarks.inputs import LONG_SOUND, STAMP, example
from gateway import schema
from mesh.artifact import locate
from mesh.settings import GatewaySettings

WORDS = ["able", "bake", "cake"]


@pytest.fixture(scope="module", autouse=True)
def small_sets() -> Iterator[None]:
    """A few bodies show what 64 would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.bodies.BODIES", 4)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where bodies are written, once."""
    return tmp_path_factory.mktemp("bodies")


def read(body: bytes, content_type: str) -> dict[str, str | bytes]:
    """What the gateway finds in a body."""
    found = schema.find_reader(content_type, "", GatewaySettings())(body)
    return {str(modality): value for modality, value in found.items()}


def test_inputs_are_what_people_send() -> None:
    """A JPEG of 256 pixels, three seconds of sound, a sentence of 18 tokens with its stamp."""
    inputs = example(1)
    assert isinstance(inputs["image"], bytes)
    assert Image.open(io.BytesIO(inputs["image"])).size == (256, 256)
    assert isinstance(inputs["audio"], bytes)
    with wave.open(io.BytesIO(inputs["audio"])) as sound:
        assert sound.getnframes() / sound.getframerate() == 3


@pytest.mark.parametrize("number", range(8))
def test_a_sentence_has_18_tokens_whatever_its_stamp(number: int) -> None:
    """As the figures' conditions say."""
    source = json.loads(TOKENIZER.read_text())["tokenizer"]["source"]
    tokenizer = Tokenizer.from_file(str(locate(source, TOKENIZER.parent)))
    tokenizer.no_padding()
    text = str(example(number)["text"]).replace(STAMP, "able cake lake")
    assert len(tokenizer.encode(text).ids) == 18


def test_the_same_number_gives_the_same_inputs_and_another_gives_others() -> None:
    """Runs can be repeated."""
    assert example(3) == example(3)
    assert all(example(3)[modality] != example(4)[modality] for modality in ("text", "image"))


def test_a_long_sound_is_long() -> None:
    """Twenty seconds of 16 bits at 16 kHz."""
    assert len(example(1, LONG_SOUND)["audio"]) > 20 * 2 * 16_000


def test_stamps_of_different_numbers_differ() -> None:
    """Until there are no more words."""
    assert len({stamp(number, WORDS) for number in range(27)}) == 27
    assert stamp(0, WORDS) == "able able able"


@pytest.mark.parametrize("form", [MULTIPART, JSON], ids=lambda form: form.name)
def test_the_gateway_finds_a_body_s_inputs_each_of_them_stamped(form, folder: Path) -> None:
    """Every request's inputs are unlike all others'."""
    bodies = write_bodies(folder, "text + image + audio", form)
    one, other = (read(bodies.stamped(number), bodies.content_type) for number in (5, 6))
    assert set(one) == {"text", "image", "audio"}
    assert all(one[name] != other[name] and len(one[name]) == len(other[name]) for name in one)


def test_a_stamp_does_not_change_what_a_picture_or_a_sound_is(folder: Path) -> None:
    """It stands where readers find a comment, or after the end."""
    for form in (MULTIPART, JSON):
        bodies = write_bodies(folder, "text + image + audio", form)
        inputs = read(bodies.stamped(7), bodies.content_type)
        assert Image.open(io.BytesIO(inputs["image"])).convert("RGB").size == (256, 256)
        with wave.open(io.BytesIO(inputs["audio"])) as sound:
            assert len(sound.readframes(sound.getnframes())) == 2 * 48_000


def test_messagepack_has_lengths_before_names_and_values() -> None:
    """As its specification has it."""
    assert MSGPACK.write({"text": "hi", "image": b"\0"}) == (
        b"\x82\xa4text\xdb\0\0\0\x02hi\xa5image\xc6\0\0\0\x01\0"
    )


def test_json_has_media_in_base64_with_the_stamp_as_part_of_it() -> None:
    """Whole groups of four letters, so that it decodes to other bytes."""
    body = json.loads(JSON.write({"image": b"any"}))
    stamped = body["image"].replace(STAMP.replace("-", "+"), "able/bake/cake")
    assert base64.b64decode(stamped, validate=True).startswith(b"any")


def test_bodies_are_written_once(folder: Path) -> None:
    """Later runs send the same files."""
    first = write_bodies(folder, "text", MULTIPART)
    times = [path.stat().st_mtime_ns for path in first.paths()]
    again = write_bodies(folder, "text", MULTIPART)
    assert [path.stat().st_mtime_ns for path in again.paths()] == times
    assert again.inputs == 1


def test_one_in_eight_of_a_mixed_set_is_long() -> None:
    """The others are as usual."""
    lengths = [len(MIXES["long text among short"].example(number)["text"]) for number in range(16)]
    assert [number for number, length in enumerate(lengths) if length > 500] == [0, 8]
