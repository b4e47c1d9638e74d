"""Evaluation from artifacts and a manifest to a report, on a tiny model."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from mesh.artifact import Artifact, ArtifactError
from mesh.embedding import Modality
from mesh.settings import InputLimits
from mesh.torch_engine import torch_engine
from services.fusion.classifier import FusionClassifier
from services.text_encoder.encoder import TextEncoder
from tests.trained_model import LABELS, write_manifest, write_model
from training.errors import TrainingError
from training.evaluate import Options, evaluate
from training.manifest import read_manifest
from training.report import Report
from training.trained import load_model

ENGINE = partial(torch_engine, device="cpu", dtype=torch.float32)
SUBSETS = ["text", "image", "audio", "text+image", "text+audio", "image+audio", "text+image+audio"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tests share the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three modalities whose examples are rows."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def joined_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three modalities whose examples are joined by class."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny", join="class")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four whole rows by two speakers, and two of a text alone."""
    return write_manifest(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def report(model: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """What there is to say of the rows."""
    return evaluate(model, manifest, tmp_path_factory.mktemp("report"), Options())


@pytest.fixture(scope="module")
def joined(
    joined_model: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Report, Path]:
    """What there is to say of examples that are joined by class, and where it was written.

    The model's own head is compared with itself.
    """
    out, own = tmp_path_factory.mktemp("report"), load_model(joined_model).classifier
    return evaluate(joined_model, manifest, out, quick(fusions={"concat": own})), out


def quick(**changes: object) -> Options:
    """Without curves, which take the longest."""
    return Options(**{"robustness": 0, "per_class": 5, **changes})


def test_every_subset_is_scored_on_the_rows_that_have_it(report: Report) -> None:
    """A text without a sound counts where the text stands alone."""
    assert {name: scores.examples for name, scores in report.subsets.items()} == dict(
        zip(SUBSETS, [6, 4, 4, 4, 4, 4, 4], strict=True)
    )
    assert {name: scores.examples for name, scores in report.natural.items()} == {
        "text": 6,
        "image": 4,
        "audio": 4,
    }
    assert report.subsets["text+audio"].clusters == 2  # speakers
    assert (report.note, report.drawn, report.unscored) == ("", {}, ())


def test_scores_are_of_what_serving_answers(model: Path, manifest: Path, report: Report) -> None:
    """The same texts, one by one, through encoder and head."""
    encoder = TextEncoder.load(Artifact.open(model / "text"), ENGINE, InputLimits())
    head = FusionClassifier.load(Artifact.open(model / "fusion"), ENGINE)
    rows = read_manifest(manifest).split("test").rows
    texts = [encoder.forward([encoder.preprocess(row.raw(Modality.TEXT))])[0] for row in rows]
    answers = head.classify([{Modality.TEXT: vector} for vector in texts])
    right = [LABELS[np.argmax(a)] == row.label for a, row in zip(answers, rows, strict=True)]
    scores = report.natural["text"]
    assert scores.accuracy.value == pytest.approx(np.mean(right))
    told = sum(bin.confidence * bin.count for bin in scores.bins if bin.confidence)
    assert told / len(rows) == pytest.approx(answers.max(axis=1).mean(), abs=1e-5)


def test_examples_are_joined_by_class_where_the_model_was(joined: tuple[Report, Path]) -> None:
    """As many of each class in every subset, and the report says what that means."""
    report, out = joined
    assert {scores.examples for scores in report.subsets.values()} == {10}
    assert [row.support for row in report.subsets["text+image+audio"].classes] == [5, 5]
    assert report.natural["text"].examples == 6
    assert "which flatters fusion" in report.note
    assert report.drawn["audio"]["groups"] == 2
    assert report.drawn["text"]["inputs"] <= 6
    assert report.note in (out / "report.html").read_text(encoding="utf-8")


def test_two_modalities_make_three_subsets(manifest: Path, tmp_path: Path) -> None:
    """Encoders of others are not asked for."""
    model = write_model(tmp_path / "pair", modalities=("text", "audio"))
    report = evaluate(model, manifest, tmp_path / "out", quick())
    assert list(report.subsets) == ["text", "audio", "text+audio"]


def test_a_subset_that_no_row_has_is_named(model: Path, manifest: Path, tmp_path: Path) -> None:
    """The others are scored."""
    lines = manifest.read_text(encoding="utf-8").splitlines()
    parted = [lines[0], *lines[5:], f",{manifest.parent / 'a-glad.wav'},,glad,test,a"]
    file = tmp_path / "parted.csv"
    file.write_text("\n".join(parted), encoding="utf-8")
    report = evaluate(model, file, tmp_path, quick())
    assert list(report.subsets) == list(report.natural) == ["text", "audio"]
    assert set(report.unscored) == set(SUBSETS) - {"text", "audio"}


def test_inputs_get_worse_for_each_modality_that_is_encoded(report: Report) -> None:
    """From the natural score on; features can't be made worse."""
    assert [(curve.modality, curve.kind) for curve in report.robustness] == [
        ("text", "dropped words"),
        ("text", "typos"),
        ("audio", "noise"),
        ("audio", "low-pass"),
    ]
    for curve in report.robustness:
        assert [point.severity for point in curve.points] == [0, 1, 2, 3, 4]
        assert curve.points[0].macro_f1 == report.natural[curve.modality].macro_f1


def test_other_strategies_are_scored_on_the_same_examples(joined: tuple[Report, Path]) -> None:
    """The model's own head scores the same as itself."""
    report, out = joined
    assert report.fusions == {"concat": report.subsets}
    assert "Fusion strategies" in (out / "report.html").read_text(encoding="utf-8")


def test_the_same_inputs_give_the_same_bytes(manifest: Path, tmp_path: Path) -> None:
    """With kept embeddings or without, of as many inputs as were asked for."""
    model = write_model(tmp_path / "model", modalities=("text",))
    kept, fresh = Options(robustness=2, cache=tmp_path / "kept"), Options(robustness=2)
    outs = [tmp_path / name for name in ("first", "second", "third")]
    for out, options in zip(outs, (kept, kept, fresh), strict=True):
        report = evaluate(model, manifest, out, options)
    assert len({(out / "report.json").read_bytes() for out in outs}) == 1
    assert {curve.examples for curve in report.robustness} == {2}
    assert {file.name.partition("-")[0] for file in (tmp_path / "kept").iterdir()} == {"text"}


def changed(manifest: Path, folder: Path, old: str, new: str) -> Path:
    """A copy of the manifest and its files in which one thing differs."""
    shutil.copytree(manifest.parent, folder)
    text = (folder / manifest.name).read_text(encoding="utf-8")
    assert old in text
    (folder / manifest.name).write_text(text.replace(old, new, 1), encoding="utf-8")
    return folder / manifest.name


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("glad,test", "merry,test", "line 2: the model knows no 'merry', but glad, sad"),
        ("a-glad.wav", "none.wav", "none.wav can't be read: No such file"),
        ("a-glad.wav", "a-glad.npy", "audio: the sound is none of .* `sensemesh data check`"),
        ("a-glad.npy", "none.npy", "line 2: .*none.npy can't be read"),
        ("a-glad.npy", "a-glad.wav", "line 2: .*a-glad.wav can't be read"),
    ],
)
def test_what_can_not_be_scored_is_named(
    model: Path, manifest: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    """By its line where it has one."""
    file = changed(manifest, tmp_path / "data", old, new)
    with pytest.raises(TrainingError, match=message):
        evaluate(model, file, tmp_path, quick())


def test_features_of_another_length_are_named(model: Path, manifest: Path, tmp_path: Path) -> None:
    """The head was trained on three numbers."""
    file = changed(manifest, tmp_path / "data", "a-glad.npy", "long.npy")
    np.save(file.parent / "long.npy", np.zeros(4, np.float32))
    with pytest.raises(TrainingError, match=r"line 2: .*long.npy does not hold 3 finite numbers"):
        evaluate(model, file, tmp_path, quick())


def test_a_split_without_rows_is_named(model: Path, manifest: Path, tmp_path: Path) -> None:
    """Instead of scoring nothing."""
    with pytest.raises(TrainingError, match="has no rows of the split 'dev'"):
        evaluate(model, manifest, tmp_path, quick(split="dev"))


def test_encoders_that_the_head_was_not_trained_on_are_refused(
    model: Path, manifest: Path, tmp_path: Path
) -> None:
    """As the mesh would."""
    other = tmp_path / "other"
    shutil.copytree(model, other)
    (other / "text" / "note.txt").write_text("another version")
    with pytest.raises(TrainingError, match="fusion was trained on sha256:"):
        evaluate(other, manifest, tmp_path, quick())


def test_a_folder_that_is_no_model_is_refused(manifest: Path, tmp_path: Path) -> None:
    """By the missing head."""
    with pytest.raises(ArtifactError, match=r"fusion holds no readable config\.json"):
        evaluate(tmp_path, manifest, tmp_path, quick())
