"""A body of multipart/form-data (RFC 7578), read strictly: nothing that was sent gets lost.

The parser is strict, and is given no more than one boundary's body: what it would pass over before
or behind that is refused here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from gateway.fields import check_text_bytes, modality_of
from mesh.embedding import Modality
from mesh.errors import MalformedInput
from mesh.settings import InputLimits

# Bytes of white space that may come before the first boundary.
MOST_PREAMBLE: Final = 64 * 1024
# The header lines of one part, and the bytes of one line. Clients send two short ones.
MOST_HEADERS: Final = 16
HEADER_BYTES: Final = 16 * 1024
# Bytes of UTF-8 for one character.
WIDEST: Final = 4
PLAIN_ENCODINGS: Final = ("", "binary", "8bit", "7bit")


@dataclass(slots=True)
class Part:
    """One field as it was sent. `filename` is None for a field that is no file."""

    name: str
    filename: str | None
    data: bytes


def read_multipart(
    body: bytes, options: Mapping[str, str], limits: InputLimits
) -> dict[Modality, str | bytes]:
    """The fields of a body; `options` are those of its Content-Type.

    Raises MalformedInput, and TooLarge for a text that is far over its limit.
    """
    boundary = options.get("boundary", "")
    if not boundary or len(boundary) > 70 or not boundary.isascii():
        raise MalformedInput("multipart/form-data needs a boundary of 1 to 70 characters")
    _check_beginning(body, boundary.encode())
    fields: dict[Modality, str | bytes] = {}
    # Empty ones too. Since no name comes twice, there are never more parts than fields.
    seen: set[Modality] = set()
    try:
        for part in _parts(_events(body, boundary)):
            modality = modality_of(part.name, seen)
            seen.add(modality)
            if part.data.startswith(b"--" + boundary.encode()):
                raise MalformedInput("a part of the multipart body ends before its data", modality)
            if not _is_empty_file_input(part):
                fields[modality] = _value(modality, part.data, limits)
    except ParserLimitReached:
        raise MalformedInput("a part of the multipart body has too many header bytes") from None
    except MultipartError as error:
        # Its further arguments, if any, would quote the body.
        raise MalformedInput(f"the multipart body is broken: {error.args[0]}") from None
    return fields


def _check_beginning(body: bytes, boundary: bytes) -> None:
    before = body.find(b"--" + boundary, 0, MOST_PREAMBLE)
    if before < 0 or not (before == 0 or body[:before].isspace()):
        raise MalformedInput("the multipart body does not begin with its boundary")


def _events(body: bytes, boundary: str) -> Iterator[MultipartSegment | bytes | None]:
    """What the parser sees; MultipartError where the body breaks off before its final boundary."""
    parser = PushMultipartParser(
        boundary, max_header_size=HEADER_BYTES, max_header_count=MOST_HEADERS, strict=True
    )
    whole = body.rstrip()
    # Data behind a final boundary goes by unseen in the piece that holds it. So the last dash comes
    # by itself: a parser that has found its end before that refuses it.
    for piece in (whole[:-1], whole[-1:], b""):
        yield from parser.parse(piece)


def _parts(events: Iterator[MultipartSegment | bytes | None]) -> Iterator[Part]:
    for event in events:
        if isinstance(event, MultipartSegment):
            name = _name(event)
            yield Part(name, event.filename, b"".join(_data(events)))


def _data(events: Iterator[MultipartSegment | bytes | None]) -> Iterator[bytes]:
    """The pieces of one part's data, up to the mark of its end."""
    for event in events:
        if not isinstance(event, bytes):
            return
        yield event


def _name(segment: MultipartSegment) -> str:
    name = segment.name or ""
    if segment.header("Content-Transfer-Encoding", "").lower() not in PLAIN_ENCODINGS:
        raise MalformedInput("Content-Transfer-Encoding is not read here", name)
    return name


def _is_empty_file_input(part: Part) -> bool:
    """Whether it is what browsers send for a file input that nobody filled."""
    return part.filename == "" and not part.data


def _value(modality: Modality, data: bytes, limits: InputLimits) -> str | bytes:
    if modality is not Modality.TEXT:
        return data
    check_text_bytes(len(data), WIDEST, limits)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MalformedInput("text has to be UTF-8", modality) from None
