"""Fusion heads of every strategy, trained on what tiny trained encoders compute."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.golden import check_classifier, check_encoder
from mesh.settings import InputLimits
from mesh.torch_engine import torch_engine
from services.fusion.classifier import FusionClassifier
from services.fusion.model import FUSIONS
from tests.encoder_artifacts import write_tokenizer
from tests.tiny_task import FEATURES, LABELS, config_of, section_of, trained, write_task
from training.embed import ENCODERS
from training.errors import TrainingError
from training.fusion import train_fusion, trials_of
from training.golden import subsets
from training.manifest import read_manifest
from training.trained import Model, load_model, vectors_of

SAMPLES: Final = Path(__file__).parents[2] / "samples"
ENGINE: Final = partial(torch_engine, device="cpu", dtype=torch.float32)
SECTIONS: Final = {"text": section_of("rnn"), "audio": section_of("tcn")}
PICTURES: Final = {"features": {"image": FEATURES}}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tests share the machine."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_THREADS", "1")
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny task's folder."""
    return write_task(tmp_path_factory.mktemp("task")).parent


@pytest.fixture(scope="module")
def encoders(task: Path) -> Path:
    """Trained encoders of text and of sound, which tell the classes of dev."""
    for family in ("rnn", "tcn"):
        fit = {"learning_rate": 1e-2, "epochs": 8, "patience": 8, "dropout": 0.0}
        assert trained(task, family, task / "model", **fit)[1] == 1.0
    return task / "model"


def fused(task: Path, encoders: Path, model: Path, *left_out: str, **fusion: Any) -> Path:
    """A head over copies of the encoders, and over features of pictures unless left out."""
    entries = {name: entry for name, entry in (SECTIONS | PICTURES).items() if name not in left_out}
    for name in SECTIONS.keys() & entries.keys():
        shutil.copytree(encoders / name, model / name)
    recipe = {"steps": 40, "batch_size": 16, **fusion}
    config = config_of(task, **entries, fusion=recipe)
    return train_fusion(config, model, SAMPLES, task / "kept")


def right(model: Model, manifest: Path) -> dict[str, float]:
    """How much of the test rows a model gets right, by the modalities that it sees."""
    rows = read_manifest(manifest).split("test").rows
    classes = np.array([LABELS.index(row.label) for row in rows])
    vectors = {m: vectors_of(model, m, rows, cache=None)[1] for m in model.modalities}
    return {
        "+".join(subset): float((_classes(model, vectors, subset) == classes).mean())
        for subset in subsets(model.modalities)
    }


def _classes(model: Model, vectors: dict[Modality, Any], subset: tuple[Modality, ...]) -> Any:
    numbers = range(len(vectors[subset[0]]))
    examples = [{modality: vectors[modality][n] for modality in subset} for n in numbers]
    return model.classifier.classify(examples).argmax(axis=1)


@pytest.mark.parametrize("join", ["row", "class"])
@pytest.mark.parametrize("strategy", FUSIONS)
def test_every_strategy_is_trained_and_holds(
    strategy: str, join: str, task: Path, encoders: Path, tmp_path: Path
) -> None:
    """The artifact computes its golden examples, and tells the classes from any subset."""
    fusion = Artifact.open(fused(task, encoders, tmp_path, strategy=strategy, join=join))
    head = FusionClassifier.load(fusion, ENGINE)
    assert check_classifier(head, fusion, "fp32") >= fusion.tolerance("fp32")
    assert len(fusion.golden_inputs()) == 7
    assert (fusion.config["architecture"], fusion.config["join"]) == (strategy, join)
    assert head.labels == LABELS
    scores = right(load_model(tmp_path), task / "manifest.csv")
    assert len(scores) == 7
    assert min(scores.values()) >= 0.75
    assert scores["text+image+audio"] == 1.0


def test_a_head_is_bound_to_what_it_was_trained_on(
    task: Path, encoders: Path, tmp_path: Path
) -> None:
    """To the finished encoders, their golden examples included, and to the features' version."""
    fusion = Artifact.open(fused(task, encoders, tmp_path))
    found = {str(m): (e["version"], e["dim"]) for m, e in fusion.config["encoders"].items()}
    parts = {name: Artifact.open(tmp_path / name) for name in SECTIONS}
    assert found == {
        "text": (parts["text"].version, 32),
        "image": (FEATURES["version"], FEATURES["dim"]),
        "audio": (parts["audio"].version, 16),
    }
    for name, part in parts.items():
        assert part.version != Artifact.open(encoders / name).version  # Golden examples came.
        encoder = ENCODERS[Modality(name)](part, ENGINE, InputLimits())
        assert check_encoder(encoder, part, "fp32") >= part.tolerance("fp32")


@pytest.mark.parametrize("left_out", ["features", "audio"])
def test_two_modalities_make_a_model(
    left_out: str, task: Path, encoders: Path, tmp_path: Path
) -> None:
    """Of two encoders, or of one and features."""
    fusion = Artifact.open(fused(task, encoders, tmp_path, left_out))
    assert len(fusion.config["encoders"]) == 2
    assert len(fusion.golden_inputs()) == 3
    assert max(right(load_model(tmp_path), task / "manifest.csv").values()) == 1.0


def test_the_same_recipe_gives_the_same_head(task: Path, encoders: Path, tmp_path: Path) -> None:
    """With embeddings that were kept, too."""
    heads = [fused(task, encoders, tmp_path / name) for name in ("first", "second")]
    assert len({Artifact.open(head).version for head in heads}) == 1


def test_a_modality_that_no_row_has_is_named(task: Path, encoders: Path, tmp_path: Path) -> None:
    """By the split that lacks it."""
    other = tmp_path / "task"
    other.mkdir()
    write_tokenizer(other / "tokenizer.json")
    (other / "manifest.csv").write_text("text,label,split\nglad,glad,train\nsad,sad,train\n")
    with pytest.raises(TrainingError, match="no row of split train has image"):
        fused(other, encoders, tmp_path / "model", "audio")


@pytest.mark.parametrize("join", ["row", "class"])
def test_what_encoders_did_not_see_is_held_out_of_whole_rows(
    task: Path, encoders: Path, join: str
) -> None:
    """An example of rows is whole; joined by class, what has no `fit` may be learned from whole."""
    fusion = {"join": join}
    config = config_of(task, **SECTIONS, **PICTURES, hold_out=0.25, fusion=fusion)
    columns = trials_of(config, encoders, task / "cache").train

    places = {modality: column.places.tolist() for modality, column in columns.items()}
    train = len(read_manifest(task / "manifest.csv").split("train").rows)
    assert places[Modality.TEXT] == places[Modality.AUDIO]
    assert 0 < len(places[Modality.TEXT]) < train
    known = places[Modality.TEXT] if join == "row" else list(range(train))
    assert places[Modality.IMAGE] == known


def test_what_encoders_did_see_is_learned_from_first_where_asked_for(
    task: Path, encoders: Path
) -> None:
    """All rows, and then those that were held out."""
    fusion = {"steps": 9, "known_steps": 5}
    config = config_of(task, **SECTIONS, **PICTURES, hold_out=0.25, fusion=fusion)
    trials = trials_of(config, encoders, task / "cache")

    rows = len(read_manifest(task / "manifest.csv").split("train").rows)
    assert {len(column.labels) for column in trials.known.values()} == {rows}
    assert max(len(column.labels) for column in trials.train.values()) < rows
    quiet = trials.head(config.fusion.model_copy(update={"known_steps": 0}))
    assert not torch.equal(quiet.classify[1].weight, trials.head(config.fusion).classify[1].weight)
