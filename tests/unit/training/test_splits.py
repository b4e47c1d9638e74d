"""Giving rows their splits: by class, by group, by content."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from mesh.embedding import Modality
from training.manifest import Manifest, ManifestError, Row
from training.splits import held_out, with_splits


def manifest(rows: Iterable[tuple[str, str]]) -> Manifest:
    """Rows of a class and a group each, with texts of their own."""
    return Manifest(
        Path("m.csv"),
        tuple(
            Row(line, label, "", group, {Modality.TEXT: f"text {line}"}, {})
            for line, (label, group) in enumerate(rows, 2)
        ),
    )


def counts(manifest: Manifest) -> Counter[tuple[str, str]]:
    """Rows by split and class."""
    return Counter((row.split, row.label) for row in manifest.rows)


def test_each_class_is_shared_out_alike() -> None:
    """Eight tenths, one tenth, one tenth."""
    found = counts(with_splits(manifest([("a", "")] * 100 + [("b", "")] * 30), seed=0))

    assert (found["train", "a"], found["dev", "a"], found["test", "a"]) == (80, 10, 10)
    assert (found["train", "b"], found["dev", "b"], found["test", "b"]) == (24, 3, 3)


def test_shares_may_be_others() -> None:
    """A half, a quarter, a quarter."""
    shares = {"train": 0.5, "dev": 0.25, "test": 0.25}

    found = counts(with_splits(manifest([("a", "")] * 40), 0, shares))

    assert found == {("train", "a"): 20, ("dev", "a"): 10, ("test", "a"): 10}


def test_the_same_seed_gives_the_same_splits() -> None:
    """And another seed others."""
    rows = manifest([("a", ""), ("b", "")] * 40)

    assert with_splits(rows, 0) == with_splits(rows, 0)
    assert with_splits(rows, 0) != with_splits(rows, 1)


def test_a_group_is_never_torn_apart() -> None:
    """Also beside rows that have none."""
    speakers = [("ab"[n % 2], f"speaker {n % 10}") for n in range(200) if n % 20 < 15]
    found = with_splits(manifest([*speakers, *[("a", ""), ("b", "")] * 50]), seed=0)

    splits = {(row.group, row.split) for row in found.rows if row.group}
    assert len(splits) == 10
    assert {split for _, split in splits} == {"train", "dev", "test"}


def test_few_speakers_of_all_classes_are_enough() -> None:
    """One is dev, one is test."""
    found = with_splits(manifest([(c, g) for g in "xyzw" for c in "abc" for _ in range(5)]), seed=0)

    assert Counter(split for _, split in {(row.group, row.split) for row in found.rows}) == {
        "train": 2,
        "dev": 1,
        "test": 1,
    }


def test_equal_content_stays_together(tmp_path: Path) -> None:
    """A text, a file or features that several rows have, whatever their groups."""
    (tmp_path / "same").write_bytes(b"same")
    (tmp_path / "copy").write_bytes(b"same")
    plain = manifest([("a", "")] * 60).rows
    image = [Row(100 + n, "a", "", "", {Modality.IMAGE: tmp_path / "same"}, {}) for n in range(9)]
    text = [Row(200 + n, "a", "", f"g{n}", {Modality.TEXT: "thanks"}, {}) for n in range(9)]
    features = [Row(300 + n, "a", "", "", {}, {Modality.TEXT: tmp_path / "copy"}) for n in range(9)]

    found = with_splits(Manifest(Path("m.csv"), (*plain, *image, *text, *features)), seed=0)

    for start in (100, 200, 300):
        assert len({row.split for row in found.rows if start <= row.line < start + 9}) == 1


def test_a_small_class_is_in_every_split() -> None:
    """Six of a thousand are two for each."""
    found = counts(with_splits(manifest([("a", "")] * 1000 + [("rare", "")] * 6), seed=0))

    assert [found[split, "rare"] for split in ("train", "dev", "test")] == [2, 2, 2]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "")] * 30 + [("b", "")] * 5, "'b' (5 examples, 5 that may be parted)"),
        ([("a", "")] * 30 + [("b", "x")] * 9, "'b' (9 examples, 1 that may be parted)"),
        ([("a", "")] * 3, "'a' (3 examples, 3 that may be parted)"),
    ],
)
def test_a_class_that_can_not_be_in_every_split_is_named(
    rows: list[tuple[str, str]], message: str
) -> None:
    """With what there is of it."""
    with pytest.raises(ManifestError) as refusal:
        with_splits(manifest(rows), seed=0)

    assert str(refusal.value) == (
        f"m.csv: too few examples for 2 in each of train, dev, test: {message}"
    )


def test_rows_that_hold_nothing_are_tied_by_nothing() -> None:
    """That they are empty is for training.check to say."""
    rows = tuple(Row(line, "a", "", "", {}, {}) for line in range(20))

    assert counts(with_splits(Manifest(Path("m.csv"), rows), 0))["test", "a"] == 2


def test_splits_that_are_given_are_kept() -> None:
    """However unequal they are."""
    rows = (Row(2, "a", "train", "", {}, {}), Row(3, "a", "test", "", {}, {}))
    given = Manifest(Path("m.csv"), rows)

    assert with_splits(given, seed=0) is given


def test_splits_of_some_rows_alone_are_refused() -> None:
    """Nobody knows what was meant for the others."""
    rows = (Row(2, "a", "train", "", {}, {}), Row(3, "a", "", "", {}, {}))

    with pytest.raises(ManifestError, match="1 of 2 rows have a split"):
        with_splits(Manifest(Path("m.csv"), rows), seed=0)


def lines_of(manifest: Manifest) -> set[int]:
    """All lines."""
    return {row.line for row in manifest.rows}


def test_a_share_of_each_class_is_held_out() -> None:
    """The same rows each time; another seed draws others."""
    rows = manifest([("a", "")] * 100 + [("b", "")] * 50)
    found = held_out(rows, 0.1, seed=0)

    assert Counter(row.label for row in rows.rows if row.line in found) == {"a": 10, "b": 5}
    assert held_out(rows, 0.1, seed=0) == found != held_out(rows, 0.1, seed=1)


def test_nothing_is_held_out_unless_told() -> None:
    """Encoders learn from all."""
    assert held_out(manifest([("a", "")] * 10), 0.0, seed=0) == frozenset()


def test_a_group_is_held_out_whole_or_not_at_all() -> None:
    """How far an encoder can be trusted shows on speakers that it never heard."""
    rows = manifest([("ab"[n % 2], f"speaker {n % 10}") for n in range(200)])
    found = held_out(rows, 0.2, seed=0)

    groups = {row.group for row in rows.rows if row.line in found}
    assert found == {row.line for row in rows.rows if row.group in groups} < lines_of(rows)


def test_a_file_that_is_gone_is_told_by_its_line() -> None:
    """It can't be compared with the others."""
    rows = Manifest(Path("m.csv"), (Row(7, "a", "", "", {Modality.IMAGE: Path("gone.png")}, {}),))
    with pytest.raises(ManifestError, match=r"line 7: gone\.png: No such file"):
        with_splits(rows, seed=0)
