"""Bodies of multipart/form-data: what is read, and what is refused rather than lost."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.multipart import HEADER_BYTES, MOST_PREAMBLE, read_multipart
from mesh.embedding import Modality
from mesh.errors import MalformedInput, TooLarge
from mesh.settings import InputLimits

LIMITS = InputLimits()
BOUNDARY = {"boundary": "limit"}


def part(name: str, data: bytes, *headers: str, filename: str | None = None) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    return "\r\n".join(["--limit", disposition, *headers, "", ""]).encode() + data + b"\r\n"


def whole(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--limit--\r\n"


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 1_000_000])
def test_files_arrive_byte_for_byte(size: int) -> None:
    """Whatever their size."""
    image, audio = os.urandom(size), os.urandom(size)
    body = whole(part("image", image, filename="a"), part("audio", audio, filename="b"))
    assert read_multipart(body, BOUNDARY, LIMITS) == {Modality.IMAGE: image, Modality.AUDIO: audio}


@given(st.lists(st.sampled_from([b"\r\n", b"--limit", b"-", b"\r", b"\n", b"x"]), max_size=30))
def test_bytes_like_a_boundary_are_data_or_refused(pieces: list[bytes]) -> None:
    """Nothing of a file is lost in silence, however near to a boundary it comes."""
    data = b"".join(pieces)
    try:
        fields = read_multipart(whole(part("image", data, filename="a")), BOUNDARY, LIMITS)
    except MalformedInput:
        assert b"--limit" in data
    else:
        assert fields == {Modality.IMAGE: data}


@given(st.data())
def test_a_body_cut_anywhere_is_refused(data: st.DataObject) -> None:
    """Everything up to the final boundary's last dash has to be there."""
    body = whole(part("text", b"hi"), part("image", b"pixels", filename="a"))
    cut = data.draw(st.integers(0, len(body) - 3))
    with pytest.raises(MalformedInput):
        read_multipart(body[:cut], BOUNDARY, LIMITS)


def test_an_empty_form_has_no_fields() -> None:
    """Nothing but the final boundary is a form, too."""
    assert read_multipart(whole(), BOUNDARY, LIMITS) == {}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(whole(part("text", b"hi")).replace(b"limit", b"other"), id="other boundary"),
        pytest.param(b"text first\r\n" + whole(part("text", b"hi")), id="data before"),
        pytest.param(whole(part("text", b"hi")) + b"more", id="data after"),
        pytest.param(whole(part("text", b"hi")) + whole(part("image", b"x")), id="form after"),
        pytest.param(b"--limit\r\n\r\nhi\r\n--limit--\r\n", id="no disposition"),
        pytest.param(
            b"--limit\r\nContent-Disposition: form-data\r\n\r\nhi\r\n--limit--", id="no name"
        ),
        pytest.param(
            b'--limit\r\nContent-Disposition: attachment; name="text"\r\n\r\nhi\r\n--limit--',
            id="no form-data",
        ),
        pytest.param(b"--limit\r\nX: \xff\r\n\r\nhi\r\n--limit--", id="header of no encoding"),
    ],
)
def test_broken_bodies_are_refused(body: bytes) -> None:
    """Where a lenient reader would see an empty or a shorter form."""
    with pytest.raises(MalformedInput):
        read_multipart(body, BOUNDARY, LIMITS)


@pytest.mark.parametrize("boundary", [None, "", 71 * "x", "é"])
def test_a_boundary_is_needed(boundary: str | None) -> None:
    """One of 1 to 70 ASCII characters."""
    options = {} if boundary is None else {"boundary": boundary}
    with pytest.raises(MalformedInput, match="boundary"):
        read_multipart(whole(part("text", b"hi")), options, LIMITS)


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        pytest.param([part("txt", b"hi")], "txt", id="unknown"),
        pytest.param([part("text", b"hi"), part("text", b"hi")], "text", id="twice"),
        pytest.param([part("image", b"", filename=""), part("image", b"x")], "image", id="again"),
        pytest.param(1000 * [part("image", b"", filename="")], "image", id="empty, ever again"),
        pytest.param([part("text", b"\xff")], "text", id="no UTF-8"),
        pytest.param(
            [part("image", b"aGk=", "Content-Transfer-Encoding: base64")], "image", id="encoded"
        ),
    ],
)
def test_errors_name_their_field(parts: list[bytes], field: str) -> None:
    """The caller learns which one to mend."""
    with pytest.raises(MalformedInput) as raised:
        read_multipart(whole(*parts), BOUNDARY, LIMITS)
    assert raised.value.field == field


def test_a_part_that_ends_before_its_data_swallows_no_other() -> None:
    """Where the line break before a boundary is missing, what follows would pass for data."""
    short = part("text", b"").removesuffix(b"\r\n")
    with pytest.raises(MalformedInput) as raised:
        read_multipart(whole(short + part("image", b"x")), BOUNDARY, LIMITS)
    assert raised.value.field == "text"


def test_harmless_headers_of_parts_are_taken() -> None:
    """Types and plain encodings that clients add change nothing."""
    headers = ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"]
    body = whole(part("text", "hé".encode(), *headers))
    assert read_multipart(body, BOUNDARY, LIMITS) == {Modality.TEXT: "hé"}


@pytest.mark.parametrize("line", [b"X: y\r\n", b"X: " + bytes(100).replace(b"\0", b"y") + b"\r\n"])
@pytest.mark.parametrize("end", [b"", b"\r\nhi\r\n--limit--"])
@pytest.mark.parametrize("size", [HEADER_BYTES, 10 * HEADER_BYTES, 200 * HEADER_BYTES])
def test_headers_without_end_are_refused(line: bytes, end: bytes, size: int) -> None:
    """Of any part, in lines long or short, whether they end later or not."""
    headers = b'--limit\r\nContent-Disposition: form-data; name="image"\r\n'
    long = headers + (size // len(line) + 1) * line + end
    for body in (long, part("text", b"hi") + long):
        with pytest.raises(MalformedInput, match="header bytes"):
            read_multipart(body, BOUNDARY, LIMITS)


def test_long_headers_within_the_bound_are_taken() -> None:
    """In any part."""
    long = "X: " + 16_000 * "y"
    for size in (1, 65_536):
        body = whole(part("image", size * b"x", long), part("audio", b"x", long))
        assert len(read_multipart(body, BOUNDARY, LIMITS)[Modality.IMAGE]) == size


def test_a_text_far_over_its_limit_is_refused_undecoded() -> None:
    """As too large, even before what is wrong in it; the widest characters have room."""
    widest = LIMITS.max_text_chars * "\N{PARTY POPPER}"
    body = whole(part("text", widest.encode()))
    assert read_multipart(body, BOUNDARY, LIMITS) == {Modality.TEXT: widest}
    with pytest.raises(TooLarge) as raised:
        read_multipart(whole(part("text", widest.encode() + b"\xff")), BOUNDARY, LIMITS)
    assert raised.value.field == "text"


@pytest.mark.parametrize("filler", [b"\r\n", b" ", b"--limit ", b"x"])
def test_a_body_that_does_not_begin_is_refused(filler: bytes) -> None:
    """White space before the first boundary has a bound, too, and is not searched for ever."""
    assert read_multipart(100 * b"\r\n" + whole(part("text", b"hi")), BOUNDARY, LIMITS)
    body = (2 * MOST_PREAMBLE // len(filler)) * filler + b"\r\n" + whole(part("text", b"hi"))
    with pytest.raises(MalformedInput, match="boundary"):
        read_multipart(body, BOUNDARY, LIMITS)
