"""JSON bodies: one flat object of strings, and nothing else."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.json_form import read_json
from mesh.embedding import Modality
from mesh.errors import MalformedInput

TEXT, IMAGE, AUDIO = Modality


@given(st.text(), st.binary(), st.booleans())
def test_what_json_writes_is_read(text: str, image: bytes, ascii_only: bool) -> None:
    """Any text and any bytes, escaped or not."""
    document = {"text": text, "image": base64.b64encode(image).decode()}
    body = json.dumps(document, ensure_ascii=ascii_only, indent=1).encode()
    assert read_json(body, {}) == {TEXT: text, IMAGE: image}


@given(st.binary() | st.text(alphabet='{}[]",:\\ u0truefalsn"text').map(str.encode))
def test_nothing_but_our_own_error_is_raised(body: bytes) -> None:
    """Whatever the bytes, and it agrees with the standard parser on what JSON is."""
    try:
        fields = read_json(body, {})
    except MalformedInput:
        return
    assert {str(field) for field in fields} == set(json.loads(body))


@pytest.mark.parametrize("data", ["cGl4ZWxz", "data:image/png;base64,cGl4ZWxz"])
@pytest.mark.parametrize("scheme", [str, str.upper])
def test_media_may_be_a_data_uri(data: str, scheme: type[str]) -> None:
    """Its media type is passed over."""
    head, comma, payload = data.rpartition(",")
    body = json.dumps({"image": scheme(head) + comma + payload}).encode()
    assert read_json(body, {}) == {IMAGE: b"pixels"}


@pytest.mark.parametrize(
    "value",
    ["*", "cGl4ZWx", "cGl4ZWxz=", "cGl4ZWxz\n", "cGl4_WxzZQ==", "=", "é", "data:image/png,x"],
)
def test_anything_but_padded_base64_is_refused(value: str) -> None:
    """Characters of other alphabets, white space, and too little or too much padding."""
    with pytest.raises(MalformedInput) as raised:
        read_json(json.dumps({"audio": value}).encode(), {})
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
        read_json(body, {})


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
        read_json(body, {})
    assert raised.value.field == field


def test_other_charsets_are_refused() -> None:
    """JSON is UTF-8, whatever a Content-Type says."""
    assert read_json(b"{}", {"charset": "UTF-8"}) == {}
    with pytest.raises(MalformedInput):
        read_json(b"{}", {"charset": "latin-1"})
