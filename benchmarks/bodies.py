"""Bodies of requests as files, in the form that each server takes, for benchmarks/load.lua."""

import base64
import importlib.util
import json
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

from benchmarks.inputs import LIGHT, LONG_SOUND, LONG_TEXT, ROOT, STAMP, USUAL, Kind, example

# Bodies of a set. Each request's inputs differ all the same, by their stamps.
BODIES: Final = 64
# One request in so many is of the long kind, in sets that mix long and short.
ONE_LONG_IN: Final = 8
# Stands where STAMP can't, since base64 has no blanks.
BASE64_STAMP: Final = STAMP.replace("-", "+")
FOUR_LETTERS: Final = re.compile("[a-z]{4}")
BOUNDARY: Final = "part-of-a-benchmark"
ALL: Final = ("text", "image", "audio")
TOKENIZER: Final = ROOT / "models/emotion6/text/config.json"

Example = Mapping[str, str | bytes]


@dataclass(frozen=True, slots=True)
class Form:
    """How inputs are written into a body."""

    name: str
    content_type: str
    write: Callable[[Example], bytes]


def _multipart(inputs: Example) -> bytes:
    parts = [_part(name, value) for name, value in inputs.items()]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def _part(name: str, value: str | bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    if isinstance(value, str):
        return f"{head}\r\n\r\n{value}\r\n".encode()
    head += f'; filename="{name}"\r\nContent-Type: {MEDIA_TYPES[name]}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def _msgpack(inputs: Example) -> bytes:
    """A map of short names to a string or bytes, as the MessagePack specification has it."""
    items = (_short(name) + _value(value) for name, value in inputs.items())
    return bytes([0x80 | len(inputs)]) + b"".join(items)


def _short(name: str) -> bytes:
    return bytes([0xA0 | len(name)]) + name.encode()


def _value(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">BI", 0xDB if isinstance(value, str) else 0xC6, len(data)) + data


def _json(inputs: Example) -> bytes:
    """Media in base64, and there the stamp behind the file's own end, which readers don't mind."""
    values = {
        name: value if isinstance(value, str) else _base64(value) for name, value in inputs.items()
    }
    return json.dumps(values).encode()


def _base64(data: bytes) -> str:
    """Whole groups of three bytes, for the stamp to be groups of its own."""
    padded = data + bytes(-len(data) % 3)
    return base64.b64encode(padded).decode() + BASE64_STAMP + "AA"


MEDIA_TYPES: Final = {"image": "image/jpeg", "audio": "audio/wav"}
MULTIPART: Final = Form("multipart", f"multipart/form-data; boundary={BOUNDARY}", _multipart)
JSON: Final = Form("json", "application/json", _json)
MSGPACK: Final = Form("msgpack", "application/msgpack", _msgpack)


@dataclass(frozen=True, slots=True)
class Mix:
    """Which inputs a set's requests have, and of what kind one in ONE_LONG_IN is."""

    modalities: tuple[str, ...] = ALL
    kind: Kind = USUAL
    rare: Kind | None = None

    def example(self, number: int) -> Example:
        """The inputs of one body of the set."""
        rare = self.rare if number % ONE_LONG_IN == 0 else None
        inputs = example(number, rare or self.kind)
        return {modality: inputs[modality] for modality in self.modalities}


SUBSETS: Final = {
    " + ".join(subset): Mix(subset) for size in (1, 2, 3) for subset in combinations(ALL, size)
}
EVERYTHING: Final = " + ".join(ALL)
MIXES: Final = {
    **SUBSETS,
    "long text among short": Mix(("text",), rare=LONG_TEXT),
    "long sound among short": Mix(("audio",), rare=LONG_SOUND),
    "light": Mix(kind=LIGHT),
}


@dataclass(frozen=True, slots=True)
class Bodies:
    """Bodies of one mix in one form: `listing` names their files, `words` what stamps are made of.

    `inputs` is how many stamps each has.
    """

    listing: Path
    words: Path
    content_type: str
    inputs: int

    def paths(self) -> list[Path]:
        """The bodies' files."""
        return [Path(line) for line in self.listing.read_text().splitlines()]

    def stamped(self, number: int, body: int = 0) -> bytes:
        """One body as benchmarks/load.lua would send it under a number; 0 is what repeats."""
        paths = self.paths()
        words = stamp(number, self.words.read_text().split())
        template = paths[body % len(paths)].read_bytes()
        template = template.replace(BASE64_STAMP.encode(), words.replace(" ", "/").encode())
        return template.replace(STAMP.encode(), words.encode())


def stamp(number: int, words: list[str]) -> str:
    """The three words by which inputs of this number differ from others."""
    count = len(words)
    return " ".join(words[number // count**place % count] for place in range(3))


def write_bodies(folder: Path, mix: str, form: Form) -> Bodies:
    """The bodies of a mix, written below `folder` unless they are there."""
    own = folder / form.name / mix.replace(" ", "-")
    words, listing = folder / "words.txt", own / "listing.txt"
    if not listing.exists():
        own.mkdir(parents=True, exist_ok=True)
        paths = [own / f"{number:03}.body" for number in range(BODIES)]
        for number, path in enumerate(paths):
            path.write_bytes(form.write(MIXES[mix].example(number)))
        _write_lines(words, short_words())
        _write_lines(listing, map(str, paths))  # Last: it says that all of them are there.
    return Bodies(listing, words, form.content_type, len(MIXES[mix].modalities))


def _write_lines(file: Path, lines: Iterable[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines))


def short_words() -> list[str]:
    """Words of four letters that are one token each of the default model, in alphabetical order."""
    source = json.loads(TOKENIZER.read_text())["tokenizer"]["source"]
    package, _, path = source.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(package)  # Found without importing it.
    origin = Path(spec.origin or "") if spec else Path()
    tokenizer = json.loads(origin.parent.joinpath(path).read_bytes())
    return sorted(word for word in tokenizer["model"]["vocab"] if FOUR_LETTERS.fullmatch(word))
