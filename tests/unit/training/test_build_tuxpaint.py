"""Making a manifest out of a tiny tree of stamps."""

from pathlib import Path
from typing import Any

import pytest

from mesh.embedding import Modality
from mesh.settings import InputLimits
from tests.stamps import write_stamps
from training.build_tuxpaint import build_tuxpaint
from training.check import defects
from training.errors import TrainingError
from training.manifest import Row, read_manifest


@pytest.fixture(scope="module")
def stamps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree."""
    return write_stamps(tmp_path_factory.mktemp("stamps"))


def build(stamps: Path, target: Path, **options: Any) -> dict[str, Row]:
    """The rows by their picture's name."""
    build_tuxpaint(stamps, target, least=3, **options)
    rows = read_manifest(target / "manifest.csv").rows
    return {Path(row.inputs[Modality.IMAGE]).stem: row for row in rows}


def sound(row: Row) -> str:
    """The name of its sound, "" where it has none."""
    return Path(row.inputs.get(Modality.AUDIO, "")).name


def test_a_stamp_is_a_caption_a_picture_and_its_spoken_name(stamps: Path, tmp_path: Path) -> None:
    """Its class is the top folder."""
    cow = build(stamps, tmp_path)["cow"]

    assert cow.label == "animals"
    assert cow.inputs == {
        Modality.TEXT: "cow.",
        Modality.IMAGE: tmp_path / "images/animals/wild/cow.png",
        Modality.AUDIO: tmp_path / "audio/animals/wild/cow_desc_fr.ogg",
    }
    assert cow.raw(Modality.IMAGE) == (stamps / "animals/wild/cow.png").read_bytes()


def test_drawings_of_one_thing_are_a_group(stamps: Path, tmp_path: Path) -> None:
    """A number at the end doesn't count, unless it is the whole name."""
    rows = build(stamps, tmp_path)

    assert {rows[name].group for name in ("fox", "fox2", "fox_3")} == {"animals/wild/fox"}
    assert rows["4"].group == "food/4"


@pytest.mark.parametrize(
    ("language", "caption"),
    [("en", "cow."), ("de", "Ein cow."), ("de_CH", "Es cow."), ("it", None)],
)
def test_captions_may_be_of_any_language(
    stamps: Path, tmp_path: Path, language: str, caption: str | None
) -> None:
    """In one that the stamp hasn't, the row has no text."""
    cow = build(stamps, tmp_path, language=language)["cow"]

    assert cow.inputs.get(Modality.TEXT) == caption


@pytest.mark.parametrize(
    ("speech", "cow", "owl", "fox"),
    [
        ("fr", "cow_desc_fr.ogg", "owl.wav", "fox_desc_fr.ogg"),
        ("en", "cow_desc.ogg", "owl.wav", ""),
        ("it", "cow_desc.ogg", "owl.wav", ""),
    ],
)
def test_the_sound_is_the_best_that_there_is(
    stamps: Path, tmp_path: Path, speech: str, cow: str, owl: str, fox: str
) -> None:
    """The name in this language, else in English, else a sound of the thing; or none."""
    rows = build(stamps, tmp_path, speech=speech)

    assert [sound(rows[name]) for name in ("cow", "owl", "fox")] == [cow, owl, fox]


def test_what_is_left_out_is_counted_by_its_reason(stamps: Path, tmp_path: Path) -> None:
    """Stamps that are no PNG, and those of small classes; a mirrored copy is no stamp."""
    done: list[int] = []
    built = build_tuxpaint(stamps, tmp_path, least=3, progress=done.append)

    assert built.kept == {"animals": 5, "food": 3}
    assert built.left_out == {"drawn as SVG alone": 1, "in a class of fewer than 3": 1}
    assert done == list(range(1, 9))


def test_nothing_in_the_manifest_is_a_defect(stamps: Path, tmp_path: Path) -> None:
    """But that the classes of this tiny tree are too small to be split."""
    build(stamps, tmp_path)

    found = defects(read_manifest(tmp_path / "manifest.csv"), InputLimits())

    assert [defect.message for defect in found] == [
        "too few examples of 'animals': 5, where 6 are needed",
        "too few examples of 'food': 3, where 6 are needed",
    ]


def test_no_class_that_is_large_enough_is_an_error(stamps: Path, tmp_path: Path) -> None:
    """As is a folder without stamps."""
    with pytest.raises(TrainingError, match="has no class of 30 stamps"):
        build_tuxpaint(stamps, tmp_path)
    with pytest.raises(TrainingError, match="has no class of 30 stamps"):
        build_tuxpaint(tmp_path / "nothing", tmp_path)
