"""Making emotion6's manifest out of tiny sets, in both forms that they come in."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mesh.embedding import Modality
from tests.media import sound, tone
from tests.training_data import write_data
from training.build_emotion6 import LABELS, build_emotion6
from training.errors import TrainingError
from training.manifest import Manifest, Row, read_manifest

FINE = ("annoyance", "disgust", "fear", "joy", "neutral", "sadness", "surprise", "amusement")
BROAD = {label: [label] for label in FINE if label not in ("annoyance", "amusement", "neutral")}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three sets as arrays and short lists, with a held-out copy of a text and of a face."""
    folder = write_data(tmp_path_factory.mktemp("sets"), train=4)
    texts = folder / "goemotions"
    (texts / "labels.txt").write_text("\n".join([*LABELS, "surprise"]))
    with (texts / "dev.tsv").open("a", encoding="utf-8") as file:
        file.write("train text 0 of 2\t2\tcopied\n")
    copy_first_face(folder / "fer2013")
    for number, file in enumerate((folder / "emodb" / "wav").iterdir()):
        file.write_bytes(sound(tone(0.1, hertz=200 + 10 * number)))
    return folder


@pytest.fixture(scope="module")
def published(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sets as their publishers lay them out."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(source / "emodb", folder / "emodb")
    shutil.copytree(source / "goemotions", folder / "goemotions")
    (folder / "goemotions" / "labels.txt").unlink()
    (folder / "goemotions" / "emotions.txt").write_text("\n".join(FINE))
    mapping = BROAD | {"anger": ["annoyance"], "joy": ["joy", "amusement"]}
    (folder / "goemotions" / "ekman_mapping.json").write_text(json.dumps(mapping))
    with (folder / "goemotions" / "train.tsv").open("a", encoding="utf-8") as file:
        file.write("two that are one\t3,7\tmerged\n")
    write_fer2013(source / "fer2013", folder / "fer2013")
    return folder


def copy_first_face(folder: Path) -> None:
    """Append the first face of train to dev."""
    with np.load(folder / "train.npz") as train, np.load(folder / "dev.npz") as dev:
        images = np.concatenate([dev["images"], train["images"][:1]])
        labels, classes = np.append(dev["labels"], train["labels"][0]), dev["classes"]
    np.savez(folder / "dev.npz", images=images, labels=labels, classes=classes)


def write_fer2013(arrays: Path, folder: Path) -> None:
    """The arrays as fer2013.csv; faces that the publisher tests on come in between."""
    lines = ["emotion,pixels,Usage"]
    for part, usage in (("dev", "PublicTest"), ("train", "Training"), ("dev", "PrivateTest")):
        with np.load(arrays / f"{part}.npz") as file:
            for pixels, label in zip(file["images"], file["labels"], strict=True):
                # The arrays' order is angry, disgust, fear, happy, sad, surprise, neutral, too.
                lines.append(f"{label},{' '.join(map(str, pixels.ravel()))},{usage}")
    folder.mkdir()
    (folder / "fer2013.csv").write_text("\n".join(lines))


def rows(manifest: Manifest, modality: Modality, *splits: str) -> list[Row]:
    """Those that have the modality and are in one of the splits."""
    return [row for row in manifest.having(modality) if row.split in splits]


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The manifest of the tiny sets."""
    target = tmp_path_factory.mktemp("built")
    build_emotion6(source, target)
    return read_manifest(target / "manifest.csv")


def test_every_row_is_a_text_or_a_face_or_a_voice_of_the_six_classes(built: Manifest) -> None:
    """Training joins them."""
    assert built.labels == list(LABELS)
    assert {len(row.inputs) for row in built.rows} == {1}
    train = Counter(row.label for row in rows(built, Modality.TEXT, "train"))
    assert train == {label: 5 if label == "joy" else 4 for label in LABELS}
    assert Counter(row.label for row in rows(built, Modality.IMAGE, "train")) == dict.fromkeys(
        LABELS, 4
    )


def test_what_the_publishers_hold_out_is_dev_or_test(built: Manifest) -> None:
    """By a hash: each of the two gets some, none is lost."""
    for modality in (Modality.TEXT, Modality.IMAGE):
        dev, test = rows(built, modality, "dev"), rows(built, modality, "test")
        assert len(dev) + len(test) == 12
        assert dev
        assert test


def test_a_speaker_is_a_group_in_one_split(built: Manifest) -> None:
    """One is dev, one is test, the others are for training."""
    voices = built.having(Modality.AUDIO)

    assert {(row.group, row.split) for row in voices} == {
        ("03", "train"),
        ("08", "train"),
        ("13", "dev"),
        ("15", "test"),
    }
    assert {row.group for row in built.rows if Modality.AUDIO not in row.inputs} == {""}


def test_labels_mean_the_same_in_all_sets(built: Manifest) -> None:
    """Each set's own names become ours."""
    by_source = {
        str(value).rpartition("/")[2]: row.label
        for row in built.rows
        for value in row.inputs.values()
    }
    assert by_source["train text 0 of 5"] == "sadness"
    assert by_source["13a01Ta.wav"] == "sadness"
    assert by_source["13a01Wa.wav"] == "anger"
    assert by_source["train-00016.png"] == "sadness"
    assert by_source["train-00024.png"] == "neutral"
    assert by_source["a line\x85that\u2028looks broken"] == "joy"


def test_faces_are_png_files_of_the_very_pixels(built: Manifest, source: Path) -> None:
    """Nothing is lost on the way to the encoder."""
    with np.load(source / "fer2013" / "train.npz") as file:
        expected = file["images"][0]
    raw = rows(built, Modality.IMAGE, "train")[0].raw(Modality.IMAGE)

    assert isinstance(raw, bytes)
    assert np.array_equal(np.asarray(Image.open(BytesIO(raw))), expected)


def test_what_is_left_out_is_counted_by_its_reason(source: Path, tmp_path: Path) -> None:
    """Classes that not all sets have, and held-out copies of what is trained on."""
    done: list[int] = []
    built = build_emotion6(source, tmp_path, done.append)

    assert built.left_out == {
        "text: surprise": 6,
        "text: several classes": 2,
        "text: held out, a copy of one in train": 2,
        "image: surprise": 6,
        "image: held out, a copy of one in train": 1,
        "audio: boredom": 4,
    }
    assert built.kept["audio: train"] == 12
    assert done == list(range(1, built.kept.total() + 1))


def test_the_publishers_own_layout_gives_the_same(
    built: Manifest, published: Path, tmp_path: Path
) -> None:
    """But for a text whose two fine classes are one here; what publishers test on is not read."""
    build_emotion6(published, tmp_path)
    others = read_manifest(tmp_path / "manifest.csv").rows
    merged = {Modality.TEXT: "two that are one"}

    def facts(rows: tuple[Row, ...]) -> list[tuple[object, ...]]:
        return [
            (row.label, row.split, row.group, [row.raw(modality) for modality in row.inputs])
            for row in rows
            if row.inputs != merged
        ]

    assert facts(others) == facts(built.rows)
    assert [row.label for row in others if row.inputs == merged] == ["joy"]


def test_the_folder_may_be_moved(source: Path, tmp_path: Path) -> None:
    """With everything that the manifest names."""
    build_emotion6(source, tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")

    for row in read_manifest(tmp_path / "there" / "manifest.csv").rows:
        assert all(row.raw(modality) for modality in row.inputs)


def remove_faces(folder: Path) -> None:
    """Take a set away."""
    shutil.rmtree(folder / "fer2013")


def remove_voices(folder: Path) -> None:
    """Leave the folder empty."""
    for file in (folder / "emodb" / "wav").iterdir():
        file.unlink()


def misname_a_voice(folder: Path) -> None:
    """Give it a name that says nothing."""
    (folder / "emodb" / "wav" / "hello.wav").write_bytes(b"")


def break_a_text(folder: Path) -> None:
    """Leave a row without its class."""
    (folder / "goemotions" / "train.tsv").write_text("fine\t1\ta\nbroken\n")


def rename_a_column(folder: Path) -> None:
    """Write another CSV than the publisher's."""
    shutil.rmtree(folder / "fer2013")
    (folder / "fer2013").mkdir()
    (folder / "fer2013" / "fer2013.csv").write_text("label,image\n0,1 2 3\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_faces, "fer2013/train.npz can't be read: No such file"),
        (remove_voices, "there are no recordings in"),
        (misname_a_voice, "hello.wav: a recording's name should be like 03a01Fa.wav"),
        (break_a_text, "train.tsv, line 2: "),
        (rename_a_column, "fer2013 is in no form that is known: KeyError"),
    ],
)
def test_a_set_that_is_not_as_it_should_be_is_named(
    source: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    """Its file or folder, and what is wrong; no manifest is left behind."""
    folder = shutil.copytree(source, tmp_path / "sets")
    spoil(folder)

    with pytest.raises(TrainingError) as refusal:
        build_emotion6(folder, tmp_path / "built")

    assert message in str(refusal.value)
    assert not (tmp_path / "built" / "manifest.csv").exists()
