"""JSON bodies: one flat object of strings, and nothing else."""

import base64
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.json_form import read_json
from mesh.embedding import Modality
from mesh.errors import MalformedInput, TooLarge
from mesh.settings import InputLimits

TEXT, IMAGE, AUDIO = Modality
LIMITS = InputLimits()
MEBI = 1024 * 1024
EMOJI = "\N{PARTY POPPER}".encode()


@given(st.text(), st.binary(), st.booleans())
def test_what_json_writes_is_read(text: str, image: bytes, ascii_only: bool) -> None:
    """Any text and any bytes, escaped or not."""
    document = {"text": text, "image": base64.b64encode(image).decode()}
    body = json.dumps(document, ensure_ascii=ascii_only, indent=1).encode()
    assert read_json(body, {}, LIMITS) == {TEXT: text, IMAGE: image}


@given(st.binary() | st.text(alphabet='{}[]",:\\ u0truefalsn"text').map(str.encode))
def test_nothing_but_our_own_error_is_raised(body: bytes) -> None:
    """Whatever the bytes, and it agrees with the standard parser on what JSON is."""
    try:
        fields = read_json(body, {}, LIMITS)
    except MalformedInput:
        return
    assert {str(field) for field in fields} == set(json.loads(body))


@pytest.mark.parametrize("data", ["cGl4ZWxz", "data:image/png;base64,cGl4ZWxz"])
@pytest.mark.parametrize("scheme", [str, str.upper])
def test_media_may_be_a_data_uri(data: str, scheme: type[str]) -> None:
    """Its media type is passed over."""
    head, comma, payload = data.rpartition(",")
    body = json.dumps({"image": scheme(head) + comma + payload}).encode()
    assert read_json(body, {}, LIMITS) == {IMAGE: b"pixels"}


@pytest.mark.parametrize(
    "value",
    ["*", "cGl4ZWx", "cGl4ZWxz=", "cGl4ZWxz\n", "cGl4_WxzZQ==", "=", "é", "data:image/png,x"],
)
def test_anything_but_padded_base64_is_refused(value: str) -> None:
    """Characters of other alphabets, white space, and too little or too much padding."""
    with pytest.raises(MalformedInput) as raised:
        read_json(json.dumps({"audio": value}).encode(), {}, LIMITS)
    assert raised.value.field == "audio"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b'"text"',
        b"null",
        b"NaN",
        b"{",
        b'{"text"}',
        b'{"text":}',
        b'{"text": "hi"',
        b'{"text": "hi",}',
        b'{"text": "hi"} {}',
        b'{"text": "hi" "image": ""}',
        b"{'text': 'hi'}",
        b'{"text": "a\nb"}',
        b'{"text": "\\x"}',
        b'{"text": "hi',
        b'\xef\xbb\xbf{"text": "hi"}',
        b'{"text": "\xff"}',
        '{"text": "hi"}'.encode("utf-16"),
        100_000 * b"[",
    ],
)
def test_broken_documents_are_refused(body: bytes) -> None:
    """What no strict parser takes, and what is no object."""
    with pytest.raises(MalformedInput):
        read_json(body, {}, LIMITS)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"text": 1}', "text"),
        (b'{"text": null}', "text"),
        (b'{"text": NaN}', "text"),
        (b'{"image": ["a"]}', "image"),
        (b'{"text": ' + 100_000 * b"[", "text"),
        (b'{"image": ' + 100_000 * b'{"a":', "image"),
        (b'{"text": ' + 10_000 * b"9" + b"}", "text"),
        (b'{"text": "\\udc00 hi"}', "text"),
        (b'{"text": "a", "text": "a"}', "text"),
        (b'{"Text": "a"}', "Text"),
        (b'{"\\ud800": "a"}', "?"),
        (b'{"' + 200 * b"x" + b'": "a"}', 100 * "x"),
    ],
)
def test_errors_name_their_field(body: bytes, field: str) -> None:
    """The caller learns which one to mend, in a name that fits into an answer."""
    with pytest.raises(MalformedInput) as raised:
        read_json(body, {}, LIMITS)
    assert raised.value.field == field


def test_other_charsets_are_refused() -> None:
    """JSON is UTF-8, whatever a Content-Type says."""
    assert read_json(b"{}", {"charset": "UTF-8"}, LIMITS) == {}
    with pytest.raises(MalformedInput):
        read_json(b"{}", {"charset": "latin-1"}, LIMITS)


def peak(body: bytes) -> float:
    """The most memory that reading `body` takes at once beside it, in sizes of the body."""
    tracemalloc.start()
    try:
        read_json(body, {}, LIMITS)
    except (MalformedInput, TooLarge):
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most / len(body)


@pytest.mark.parametrize(
    ("body", "most"),
    [
        (b'{"text": "%s", "image": "%s"}' % (EMOJI, 8 * MEBI * b"A"), 1.1),
        (b'{"text": "%s", "image": "%s"}' % (EMOJI, 2 * MEBI * b"AA\\/A"), 2.5),
        (b'{"image": "%s%s"}' % (EMOJI, 8 * MEBI * b"A"), 1.1),
        (b'{"image": "\\/%s%s"}' % (EMOJI, 8 * MEBI * b"A"), 1.1),
        (b'{"image": "\\ud83c\\udf89%s"}' % (8 * MEBI * b"A"), 1.1),
        (b'{"text": "%s%s"}' % (EMOJI, 8 * MEBI * b"A"), 0.1),
        (b'{"%s%s": ""}' % (EMOJI, 8 * MEBI * b"A"), 0.1),
        (b'{"text": "%s"%s' % (EMOJI, 8 * MEBI * b" "), 2.1),
        (b'{"text": "%s%s' % (EMOJI, 8 * MEBI * b"A"), 2.1),
    ],
    ids=lambda value: str(value[:20]) if isinstance(value, bytes) else "",
)
def test_one_wide_character_does_not_make_a_body_a_large_one_in_memory(
    body: bytes, most: float
) -> None:
    """Not in any place, whether the body is read or refused."""
    assert peak(body) < most


@pytest.mark.parametrize("character", ["a", "é", "\N{PARTY POPPER}", '"'])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_text_within_its_limit_is_never_too_long_in_bytes(
    character: str, ascii_only: bool
) -> None:
    """However its characters are written."""
    text = LIMITS.max_text_chars * character
    body = json.dumps({"text": text}, ensure_ascii=ascii_only).encode()
    assert read_json(body, {}, LIMITS) == {TEXT: text}


def test_a_text_far_over_its_limit_is_refused_undecoded() -> None:
    """As too large, even before what is wrong in it."""
    body = b'{"text": "%s\xff"}' % (12 * LIMITS.max_text_chars * b"a")
    with pytest.raises(TooLarge) as raised:
        read_json(body, {}, LIMITS)
    assert raised.value.field == "text"


@pytest.mark.parametrize(
    "value", [b"\\/+8=", b"\\u002f\\u002B8\\u003d", b"data:a\\/b;base64,\\/+8=", b"\\/+8\\u003D"]
)
def test_base64_may_have_escapes(value: bytes) -> None:
    """Some encoders write a slash, a plus or an equals sign so."""
    assert read_json(b'{"image": "%s"}' % value, {}, LIMITS) == {IMAGE: b"\xff\xef"}


@pytest.mark.parametrize(
    "value",
    [
        b"\\\\/+8=",
        b"\\x/+8=",
        b"\\u00",
        b"\\u00e9",
        b"\\ud800",
        b"\\/\xff",
        b"AAAA\nAAAA",
        b"data:a\n;base64,AAAA",
        b"data:\xff;base64,AAAA",
    ],
)
def test_media_with_other_escapes_or_bytes_is_refused(value: bytes) -> None:
    """It is no base64, or no JSON."""
    with pytest.raises(MalformedInput) as raised:
        read_json(b'{"image": "%s"}' % value, {}, LIMITS)
    assert raised.value.field == "image"


@pytest.mark.parametrize(
    ("body", "character"),
    [
        ('{"text": "é" x', 13),
        ('{"text": "é\\x"}', 11),
        ('{"text": "é", "image": "\\/', 23),
        ("{x", 1),
        ("{} x", 3),
    ],
)
def test_the_place_of_a_fault_is_told_in_characters(body: str, character: int) -> None:
    """Not in bytes: the caller sees characters."""
    with pytest.raises(MalformedInput, match=rf"at character {character}$"):
        read_json(body.encode(), {}, LIMITS)


def test_a_data_uri_without_end_is_refused() -> None:
    """It is not searched through for the bytes that it might have."""
    with pytest.raises(MalformedInput, match="without ;base64"):
        read_json(b'{"image": "data:%s;base64,AAAA"}' % (2000 * b"a"), {}, LIMITS)
