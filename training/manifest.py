"""The table of examples that a model is trained from: CSV, JSON lines or Parquet, read into rows.

    text,image,audio,label,split,group
    I won!,faces/17.png,,joy,train,
    ,faces/18.png,voices/a.wav,anger,test,speaker 3

A row holds any of the three inputs, its class, and where the user says so its split and its group:
what belongs together, as the recordings of one speaker, and so may not be in two splits. Embeddings
that something else computed are `.npy` files in the columns `text_features`, `image_features` and
`audio_features`. Paths are relative to the manifest's own folder, and any cell may be empty.
"""

import csv
import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Final

from mesh.embedding import Modality
from mesh.encoding import Raw
from training.errors import TrainingError

SPLITS: Final = ("train", "dev", "test")
# So many examples of each class a split needs.
LEAST: Final = 2
FEATURES: Final = {modality: f"{modality}_features" for modality in Modality}
COLUMNS: Final = (*Modality, "label", "split", "group", *FEATURES.values())

Cells = Mapping[str, Any]


class ManifestError(TrainingError):
    """The file as a whole can't be used. What is wrong with single rows is for training.check."""


@dataclass(frozen=True, slots=True)
class Row:
    """One example. `label`, `split` and `group` are "" where their cells are empty.

    `line` is the line of the file on which the row starts; in Parquet, which has no lines, the
    number of the row. Both count from 1.
    """

    line: int
    label: str
    split: str
    group: str
    inputs: Mapping[Modality, str | Path]
    features: Mapping[Modality, Path]

    def raw(self, modality: Modality) -> Raw:
        """An input as a caller would send it: the text, or the file's bytes.

        Raises OSError where the file can't be read.
        """
        value = self.inputs[modality]
        return value if isinstance(value, str) else value.read_bytes()


@dataclass(frozen=True, slots=True)
class Manifest:
    """All rows of a file, in its order, or some of them."""

    path: Path
    rows: tuple[Row, ...]

    @property
    def labels(self) -> list[str]:
        """The classes that occur, sorted."""
        return sorted({row.label for row in self.rows} - {""})

    def split(self, name: str) -> "Manifest":
        """The rows of one split."""
        return Manifest(self.path, tuple(row for row in self.rows if row.split == name))

    def having(self, modality: Modality) -> list[Row]:
        """The rows that have this input."""
        return [row for row in self.rows if modality in row.inputs]


def digest(raw: Raw) -> str:
    """The SHA-256 of a file's bytes or of a text's NFC form: equal for equal content."""
    if isinstance(raw, str):
        raw = unicodedata.normalize("NFC", raw).encode("utf-8", "surrogatepass")
    return hashlib.sha256(raw).hexdigest()


def read_manifest(file: Path) -> Manifest:
    """Read a manifest by its ending: .csv, .jsonl or .parquet.

    Raises ManifestError for a file that is missing, of another kind, broken or empty, for a column
    that is not one of COLUMNS, where there is no column `label`, and for a cell of a wrong type.
    """
    if file.suffix.lower() not in _READERS:
        raise ManifestError(f"{file} is no manifest: its name should end in {', '.join(_READERS)}")
    if not file.is_file():
        raise ManifestError(f"there is no file {file}")
    try:
        cells = list(_READERS[file.suffix.lower()](file))
    except OSError as error:
        raise ManifestError(f"{file} can't be read: {error.strerror or error}") from error
    _require_columns(file, {column for _, row in cells for column in row})
    return Manifest(file, tuple(_row(file, line, row) for line, row in cells))


def write_manifest(file: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Write rows of cells as CSV. A column that a row doesn't name is empty there."""
    with file.open("w", encoding="utf-8", newline="") as output:
        writer = csv.DictWriter(output, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _require_columns(file: Path, columns: set[str]) -> None:
    if not columns:
        raise ManifestError(f"{file} has no rows")
    if unknown := sorted(columns - set(COLUMNS)):
        names = ", ".join(map(repr, unknown))
        raise ManifestError(f"{file}: unknown column {names}; known are {', '.join(COLUMNS)}")
    if "label" not in columns:
        raise ManifestError(f"{file} has no column 'label'")


def _row(file: Path, line: int, cells: Cells) -> Row:
    values = {column: _value(file, line, column, cell) for column, cell in cells.items()}
    # White space around a name is nothing that anybody means; in a text it may be.
    names = {column: value.strip() for column, value in values.items() if value.strip()}
    inputs: dict[Modality, str | Path] = {
        modality: values[modality] if modality == Modality.TEXT else file.parent / names[modality]
        for modality in Modality
        if modality in names
    }
    features = {m: file.parent / names[column] for m, column in FEATURES.items() if column in names}
    label, split, group = (names.get(column, "") for column in ("label", "split", "group"))
    return Row(line, label, split, group, inputs, features)


def _value(file: Path, line: int, column: str, cell: object) -> str:
    """A cell as text. JSON and Parquet know numbers, as which classes and speakers are written."""
    if cell is None:
        return ""
    if not isinstance(cell, str | int) or isinstance(cell, bool):
        kind = type(cell).__name__
        raise ManifestError(f"{file}, line {line}: {column} is {kind}, not text or a whole number")
    return str(cell)


def _read_csv(file: Path) -> Iterator[tuple[int, Cells]]:
    reader = csv.reader(StringIO(_text(file), newline=""), strict=True)
    header, line = [], 1
    try:
        header = [name.strip() for name in next(reader, [])]
        line = reader.line_num + 1
        for cells in reader:
            if cells:  # An empty line is no row.
                yield line, _named(file, line, header, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        raise ManifestError(f"{file}, line {line}: no CSV: {error}") from error


def _named(file: Path, line: int, header: list[str], cells: list[str]) -> Cells:
    if len(set(header)) < len(header):
        raise ManifestError(f"{file}: a column's name occurs twice")
    if len(cells) != len(header):
        raise ManifestError(f"{file}, line {line}: {len(cells)} cells for {len(header)} columns")
    return dict(zip(header, cells, strict=True))


def _read_jsonl(file: Path) -> Iterator[tuple[int, Cells]]:
    # Not `splitlines`: strings of JSON may hold Unicode's own line ends.
    for line, text in enumerate(_text(file).split("\n"), 1):
        if text.strip():
            yield line, _object(file, line, text)


def _object(file: Path, line: int, text: str) -> Cells:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{file}, line {line}, column {error.colno}"
        raise ManifestError(f"{place}: no JSON: {error.msg}") from error
    if not isinstance(value, dict):
        raise ManifestError(f"{file}, line {line}: not a JSON object")
    return value


def _read_parquet(file: Path) -> Iterator[tuple[int, Cells]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        rows = read_table(file).to_pylist()
    except ArrowException as error:
        raise ManifestError(f"{file}: no Parquet: {error}") from error
    yield from enumerate(rows, 1)


def _text(file: Path) -> str:
    data = file.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{file}, line {line}: not UTF-8: {error.reason}") from error


_READERS: Final = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
