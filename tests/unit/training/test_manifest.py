"""Reading manifests of three kinds, and refusing what is none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from mesh.embedding import Modality
from training.manifest import Manifest, ManifestError, digest, read_manifest, write_manifest

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of a name, and says where."""

    def write(name: str, content: str | bytes) -> Path:
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


def labels(manifest: Manifest) -> list[tuple[int, str]]:
    """Where each row starts, and its class."""
    return [(row.line, row.label) for row in manifest.rows]


def test_a_csv_has_all_that_a_row_may_hold(write: Write) -> None:
    """Inputs, class, split, group and features; paths are beside the manifest."""
    file = write(
        "m.csv",
        "text,image,audio,label,split,group,text_features\n"
        "I won!,a/1.png,/b/2.wav,joy,train,anna,t.npy\n",
    )

    [row] = read_manifest(file).rows

    assert (row.line, row.label, row.split, row.group) == (2, "joy", "train", "anna")
    assert row.inputs == {
        Modality.TEXT: "I won!",
        Modality.IMAGE: file.parent / "a/1.png",
        Modality.AUDIO: Path("/b/2.wav"),
    }
    assert row.features == {Modality.TEXT: file.parent / "t.npy"}


def test_empty_cells_are_absent_inputs(write: Write) -> None:
    """So is white space alone, which no encoder would take for a text."""
    rows = read_manifest(write("m.csv", "text,image,label\n  ,,joy\n' ',x.png,\n")).rows

    assert [list(row.inputs) for row in rows] == [[], [Modality.TEXT, Modality.IMAGE]]
    assert rows[1].label == ""


def test_a_text_keeps_its_white_space_and_a_name_does_not(write: Write) -> None:
    """A text is what a caller would send."""
    [row] = read_manifest(write("m.csv", "text,label,group\n a , joy , b \n")).rows

    assert (row.inputs[Modality.TEXT], row.label, row.group) == (" a ", "joy", "b")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_row_of_csv_is_on_the_line_where_it_starts(write: Write, mark: str) -> None:
    """Quoted texts may hold line ends, empty lines are no rows, and a byte order mark is none."""
    file = write("m.csv", mark + 'text,label\n"one\ntwo",a\n\nthree,b\n"four\r\n",c\nfive,d\n')

    manifest = read_manifest(file)

    assert labels(manifest) == [(2, "a"), (5, "b"), (6, "c"), (8, "d")]
    assert manifest.rows[0].inputs[Modality.TEXT] == "one\ntwo"


def test_json_lines_may_leave_columns_out(write: Write) -> None:
    """Each line names what it has; a number is taken for a name, null for nothing."""
    lines = [{"text": "a\u2028b", "label": 3}, {"group": 7, "label": "b", "text": None}]
    file = write("m.jsonl", "\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines))

    manifest = read_manifest(file)

    assert labels(manifest) == [(1, "3"), (3, "b")]
    assert manifest.rows[0].inputs == {Modality.TEXT: "a\u2028b"}
    assert (manifest.rows[1].inputs, manifest.rows[1].group) == ({}, "7")


def test_a_parquet_file_counts_its_rows(tmp_path: Path) -> None:
    """It has no lines."""
    table = pyarrow.table({"text": ["x", None], "label": ["a", "b"], "group": [None, 5]})
    pyarrow.parquet.write_table(table, tmp_path / "m.parquet")

    manifest = read_manifest(tmp_path / "m.parquet")

    assert labels(manifest) == [(1, "a"), (2, "b")]
    assert [row.group for row in manifest.rows] == ["", "5"]
    assert manifest.rows[1].inputs == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.txt", "text,label\n", "no manifest: its name should end in .csv, .jsonl, .parquet"),
        ("m.csv", "", "has no rows"),
        ("m.csv", "text,label\n", "has no rows"),
        ("m.csv", "text\nx\n", "has no column 'label'"),
        ("m.csv", "label,lable,tags\na,b,c\n", "unknown column 'lable', 'tags'; known are text, "),
        ("m.csv", "text,text,label\na,b,c\n", "a column's name occurs twice"),
        ("m.csv", "text,label\na,b\n\na,b,c\n", "line 4: 3 cells for 2 columns"),
        ("m.csv", "text,label\na\n", "line 2: 1 cells for 2 columns"),
        ("m.csv", 'text,label\na,b\n"c"d,e\n', "line 3: no CSV: ',' expected"),
        ("m.csv", 'text,label\n"a\n', "line 2: no CSV: unexpected end of data"),
        ("m.csv", b"text,label\na,b\ncaf\xe9,c\n", "line 3: not UTF-8"),
        ("m.jsonl", '{"label": "a"}\n{"label": }\n', "line 2, column 11: no JSON"),
        ("m.jsonl", '{"label": "a"}\n["b"]\n', "line 2: not a JSON object"),
        ("m.jsonl", '{"label": 0.5}\n', "line 1: label is float, not text or a whole number"),
        ("m.jsonl", '{"label": true}\n', "line 1: label is bool"),
        ("m.parquet", "PAR", "no Parquet"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused(
    write: Write, name: str, content: str | bytes, message: str
) -> None:
    """With its name, what is wrong and on which line."""
    with pytest.raises(ManifestError) as refusal:
        read_manifest(write(name, content))

    assert name in str(refusal.value)
    assert message in str(refusal.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A folder is no file either."""
    for file in (tmp_path / "m.csv", tmp_path / "m.parquet"):
        with pytest.raises(ManifestError, match="there is no file"):
            read_manifest(file)
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(ManifestError, match="there is no file"):
        read_manifest(tmp_path / "d.csv")


def test_a_damaged_parquet_file_is_told_with_its_reason(tmp_path: Path) -> None:
    """pyarrow's errors of the file's inside have no reason of the system."""
    file = tmp_path / "m.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x"] * 9, "label": ["a"] * 9}), file)
    data = file.read_bytes()
    file.write_bytes(data[:4] + b"\xff" * 40 + data[44:])

    with pytest.raises(ManifestError, match=r"m\.parquet can't be read: \w{5}"):
        read_manifest(file)


def test_parts_of_a_manifest(write: Write) -> None:
    """Its classes, the rows of a split, the rows with an input."""
    manifest = read_manifest(
        write("m.csv", "text,image,label,split\na,,joy,train\n,b.png,anger,train\nc,,,dev\n")
    )

    assert manifest.labels == ["anger", "joy"]
    assert labels(manifest.split("train")) == [(2, "joy"), (3, "anger")]
    assert manifest.split("test").rows == ()
    assert [row.line for row in manifest.having(Modality.TEXT)] == [2, 4]


def test_a_rows_input_is_what_a_caller_would_send(write: Write) -> None:
    """The text itself, or the file's bytes."""
    write("b.png", b"\x89PNG")
    [row] = read_manifest(write("m.csv", "text,image,audio,label\na,b.png,gone.wav,joy\n")).rows

    assert row.raw(Modality.TEXT) == "a"
    assert row.raw(Modality.IMAGE) == b"\x89PNG"
    with pytest.raises(FileNotFoundError):
        row.raw(Modality.AUDIO)


def test_equal_content_has_an_equal_digest() -> None:
    """However a text's letters are composed, and also where a text is no Unicode."""
    assert digest("caf\u00e9") == digest("cafe\u0301") == digest("caf\u00e9".encode())
    assert digest("a") != digest("b")
    assert len(digest("\ud800")) == 64


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    """Whatever a text holds."""
    text = ' "a",\r\n\u2028\x00b'
    rows: list[dict[str, Any]] = [{"text": text, "label": "a"}, {"image": "x/1.png", "label": "b"}]

    write_manifest(tmp_path / "m.csv", rows)

    one, other = read_manifest(tmp_path / "m.csv").rows
    assert (one.inputs, one.label) == ({Modality.TEXT: text}, "a")
    assert (other.inputs, other.split) == ({Modality.IMAGE: tmp_path / "x/1.png"}, "")
