"""A body of multipart/form-data (RFC 7578), read strictly: nothing that was sent gets lost.

Werkzeug's own form parser passes over what it can't read; its decoder, used here, does not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from werkzeug.datastructures import Headers
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import (
    BLANK_LINE_RE,
    NEED_DATA,
    Data,
    Epilogue,
    Event,
    Field,
    File,
    MultipartDecoder,
    Preamble,
    State,
)

from gateway.fields import check_text_bytes, modality_of
from mesh.embedding import Modality
from mesh.errors import MalformedInput
from mesh.settings import InputLimits

# The decoder's buffer stays small, which makes it eight times as fast as one large piece.
PIECE: Final = 64 * 1024
# Bytes of one part's headers; clients send two lines. The decoder has no bound of its own: it
# gathers them until they end, and reads them in slow Python.
MOST_HEADERS: Final = 16 * 1024
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
    fields: dict[Modality, str | bytes] = {}
    # Empty ones too. Since no name comes twice, there are never more parts than fields.
    seen: set[Modality] = set()
    try:
        for part in _parts(_events(body, boundary.encode())):
            modality = modality_of(part.name, seen)
            seen.add(modality)
            if not _is_empty_file_input(part):
                fields[modality] = _value(modality, part.data, limits)
    except ValueError as error:
        raise MalformedInput(f"the multipart body is broken: {_reason(error)}") from None
    return fields


def _events(body: bytes, boundary: bytes) -> Iterator[Event]:
    """What the decoder sees, to the epilogue; ValueError where the body breaks off before it."""
    decoder = MultipartDecoder(boundary)
    for start in range(0, len(body), PIECE):
        decoder.receive_data(body[start : start + PIECE])
        _check_gathered(decoder)
        while (event := decoder.next_event()) is not NEED_DATA:
            yield event
            _check_gathered(decoder)
    decoder.receive_data(None)
    while not isinstance(event := decoder.next_event(), Epilogue):
        yield event
    yield event


def _check_gathered(decoder: MultipartDecoder) -> None:
    """MalformedInput where the decoder would go on to gather what it has no bound for."""
    if decoder.state is State.PREAMBLE and len(decoder.buffer) > PIECE:
        raise MalformedInput("the multipart body does not begin with its boundary")
    if (
        decoder.state is State.PART
        and len(decoder.buffer) > MOST_HEADERS
        and not BLANK_LINE_RE.search(decoder.buffer, 0, MOST_HEADERS)
    ):
        raise MalformedInput(f"a part of the multipart body has over {MOST_HEADERS} header bytes")


def _parts(events: Iterator[Event]) -> Iterator[Part]:
    for event in events:
        if isinstance(event, Field | File):
            yield Part(
                _name(event.name, event.headers), getattr(event, "filename", None), _data(events)
            )
        elif isinstance(event, Preamble | Epilogue) and event.data.strip():
            raise MalformedInput("the multipart body has data outside of its parts")


def _data(events: Iterator[Event]) -> bytes:
    pieces = []
    for event in events:
        if isinstance(event, Data):
            pieces.append(event.data)
            if not event.more_data:
                break
    return b"".join(pieces)


def _name(name: str | None, headers: Headers) -> str:
    disposition, _ = parse_options_header(headers.get("content-disposition"))
    if disposition.lower() != "form-data" or name is None:
        raise MalformedInput("each part of the multipart body needs a form-data name")
    if headers.get("content-transfer-encoding", "").lower() not in PLAIN_ENCODINGS:
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


def _reason(error: ValueError) -> str:
    """The decoder's complaint, unless it would quote the body."""
    if isinstance(error, UnicodeDecodeError):
        return "a part's header is not UTF-8"
    if "cannot parse beyond" in str(error):
        return "it ends before its final boundary, or has none"
    return "a part has no Content-Disposition"
