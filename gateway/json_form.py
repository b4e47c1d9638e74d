"""A JSON body, read strictly: one flat object of strings, text as it is and media in base64.

Whatever else a document holds is refused where it begins, before anything is built of it: a list
of a million empty lists in a small body would be a large one in memory.
"""

import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.fields import modality_of
from mesh.embedding import Modality
from mesh.errors import MalformedInput

# RFC 2397; the media type is not needed, since formats are told by the bytes.
DATA_URI: Final = re.compile(r"data:[^,]*?;base64,", re.IGNORECASE)
WHITE_SPACE: Final = re.compile(r"[ \t\n\r]*")
DECODER: Final = json.JSONDecoder()


def read_json(body: bytes, options: Mapping[str, str]) -> dict[Modality, str | bytes]:
    """The fields of a body; `options` are those of its Content-Type. MalformedInput otherwise."""
    if options.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise MalformedInput("JSON has to be UTF-8")
    try:
        document = _Document(body.decode())
    except UnicodeDecodeError:
        raise MalformedInput("JSON has to be UTF-8") from None
    fields: dict[Modality, str | bytes] = {}
    for name in document.members():
        modality = modality_of(name, fields)
        value = document.string(f"{modality} has to be a string", modality)
        fields[modality] = _text(value) if modality is Modality.TEXT else _media(modality, value)
    return fields


class _Document:
    """A JSON text and how far it is read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def members(self) -> Iterator[str]:
        """The name of each member; the caller then takes its value by `string`."""
        self._expect("{", "the JSON has to be an object")
        if not self._found("}"):
            yield self._name()
            while self._found(","):
                yield self._name()
            self._expect("}", self._broken())
        if self._at < len(self._text):
            raise MalformedInput(self._broken())

    def string(self, otherwise: str, field: str | None = None) -> str:
        """The string that comes next, and the white space after it."""
        if not self._text.startswith('"', self._at):
            raise MalformedInput(otherwise, field)
        try:
            value, self._at = DECODER.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            raise MalformedInput(f"the JSON is broken at character {error.pos}", field) from None
        self._skip_white_space()
        return str(value)

    def _name(self) -> str:
        name = self.string(self._broken())
        self._expect(":", self._broken())
        return name

    def _expect(self, sign: str, otherwise: str) -> None:
        if not self._found(sign):
            raise MalformedInput(otherwise)

    def _found(self, sign: str) -> bool:
        """Whether `sign` comes next; if so it is read, and the white space on both sides."""
        self._skip_white_space()
        found = self._text.startswith(sign, self._at)
        self._at += len(sign) * found
        self._skip_white_space()
        return found

    def _skip_white_space(self) -> None:
        match = WHITE_SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _broken(self) -> str:
        return f"the JSON is broken at character {self._at}"


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MalformedInput("text has a lone surrogate", Modality.TEXT) from None
    return value


def _media(modality: Modality, value: str) -> bytes:
    if value[:5].lower() == "data:":
        head = DATA_URI.match(value)
        if head is None:
            raise MalformedInput(f"{modality} is a data: URI without ;base64", modality)
        value = value[head.end() :]
    if len(value) % 4:  # Else the strict mode lets too much padding pass.
        raise MalformedInput(f"{modality} is not padded base64", modality)
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        raise MalformedInput(f"{modality} is not base64", modality) from None
