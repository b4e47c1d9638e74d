"""Leaving out each group of a modality in turn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mesh.embedding import Modality
from tests.encoder_artifacts import audio_artifact
from tests.media import sound, tone
from training.config import FusionConfig, read_config
from training.errors import TrainingError
from training.folds import Recordings, folds, main
from training.joining import Column

LABELS = ("low", "high")
RECIPE = FusionConfig.model_validate(
    {"steps": 100, "batch_size": 32, "learning_rate": 0.03, "model": {"width": 16, "hidden": 16}}
)


def column(offsets: dict[str, float], seed: int) -> Column:
    """Ten inputs of each class by each speaker; the class is the first number's sign.

    A speaker's offset turns that sign for all that he says where it is large.
    """
    rng = np.random.default_rng(seed)
    labels = np.tile([0, 1], 10 * len(offsets))
    groups = np.repeat([*offsets], 20)
    shifts = np.repeat([*offsets.values()], 20)
    vectors = rng.normal(size=(len(labels), 4)).astype(np.float32) / 4
    vectors[:, 0] += (2 * labels - 1) * shifts
    return Column(np.arange(len(labels)), labels, groups, vectors)


def recordings(offsets: dict[str, float]) -> Recordings:
    """The same speakers as they are and changed."""
    return Recordings(Modality.AUDIO, LABELS, column(offsets, 0), column(offsets, 1))


def test_a_speaker_like_the_others_is_understood() -> None:
    """All of his inputs are counted, and none of the others'."""
    fold = recordings({"a": 1.0, "b": 1.0, "c": 1.0}).fold("b", RECIPE, seed=0)

    assert (fold.group, fold.examples) == ("b", 20)
    assert fold.accuracy == fold.mean_recall == 1.0


def test_a_speaker_is_never_learned_from_in_his_own_fold() -> None:
    """One who means the opposite is misunderstood throughout."""
    fold = recordings({"a": 1.0, "b": 1.0, "odd": -1.0}).fold("odd", RECIPE, seed=0)

    assert fold.accuracy == 0.0


def test_fused_examples_join_a_group_with_others_inputs() -> None:
    """What a voice leaves open, a text tells; a group without all classes can't be joined."""
    texts = column({"": 1.0}, 2)
    voices = recordings({"a": 1.0, "b": 1.0, "mute": 0.0})
    some = np.flatnonzero((voices.original.groups != "b") | (voices.original.labels == 0))
    fused = replace(
        voices,
        original=voices.original.subset(some),
        train={Modality.TEXT: texts},
        met={Modality.TEXT: column({"": 1.0}, 3)},
    )
    recipe = RECIPE.model_copy(update={"join": "class"})

    assert fused.groups == ["a", "mute"]
    assert voices.fold("mute", RECIPE, seed=0).accuracy < 0.8
    fold = fused.fold("mute", recipe, seed=0)
    assert fold.examples == 20
    assert min(fold.accuracy, fold.macro_f1) > 0.9


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config of sounds alone, its model's encoder beside it, and two speakers' tones."""
    (tmp_path / "models" / "audio").mkdir(parents=True)
    audio_artifact(tmp_path / "models" / "audio")
    rows = ["audio,label,split,group"]
    for speaker in "ab":
        for label, hertz in zip(LABELS, (200.0, 2000.0), strict=True):
            name = f"{speaker}-{label}.wav"
            (tmp_path / name).write_bytes(sound(tone(0.2, hertz=hertz)))
            rows.append(f"{name},{label},train,{speaker}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    file = tmp_path / "tones.toml"
    file.write_text(
        'name = "tones"\nmanifest = "manifest.csv"\nlabels = ["low", "high"]\n'
        '[audio]\narchitecture = "whisper"\nbase = "path:base"\n'
        "[fusion]\nsteps = 5\nrecording_copies = 1\n"
    )
    return file


def test_it_prints_a_line_for_each_speaker_and_their_mean(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a table of Markdown, for a model card."""
    main([str(config), "audio", f"--model={config.parent}/models", f"--cache={config.parent}/e"])

    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["a", "b", "mean"]
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["2", "2", "4"]


def test_each_modality_may_have_a_dropout_of_its_own(config: Path) -> None:
    """A head of one takes its own."""
    text = config.read_text().replace("[audio]", '[features.text]\nversion = "x"\ndim = 3\n[audio]')
    config.write_text(text + "[fusion.model]\ninput_dropout = [0.1, 0.8]\n")

    found = folds(read_config(config), Modality.AUDIO, config.parent / "models", config.parent)
    assert [fold.group for fold in found] == ["a", "b"]


def test_rows_that_belong_together_can_not_be_fused_anew(config: Path) -> None:
    """A group's examples have their texts already."""
    with pytest.raises(TrainingError, match="--fused is for examples that are joined by class"):
        main([str(config), "audio", f"--model={config.parent}/models", "--fused"])


def test_one_group_can_not_be_left_out(config: Path) -> None:
    """There would be nobody to learn from."""
    manifest = config.parent / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",b\n", ",a\n"))

    with pytest.raises(TrainingError, match="no two groups"):
        list(folds(read_config(config), Modality.AUDIO, config.parent / "models", config.parent))
