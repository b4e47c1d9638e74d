"""A training run's TOML file: what it may say, and how it is told what is wrong."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from mesh.embedding import Modality
from training.config import ConfigError, TrainConfig, read_config
from training.errors import TrainingError

HEAD = 'name = "mood"\nmanifest = "data/manifest.csv"\n'
TEXT = '[text]\narchitecture = "bert"\nbase = "path:bert.safetensors"\n'
AUDIO = '[audio]\narchitecture = "tcn"\n[audio.fit]\n'
FEATURES = '[features.image]\nversion = "sha256:1"\ndim = 3\n'


def read(folder: Path, toml: str) -> TrainConfig:
    """What a file of this content says."""
    file = folder / "mood.toml"
    file.write_text(toml, encoding="utf-8")
    return read_config(file)


def test_a_whole_run_is_one_file(tmp_path: Path) -> None:
    """Encoders with a base or without, features, and defaults for the rest."""
    config = read(tmp_path, HEAD + AUDIO + FEATURES + TEXT)

    assert list(config.encoders) == [Modality.TEXT, Modality.AUDIO]
    assert config.encoders[Modality.TEXT].fit is None
    assert config.features[Modality.IMAGE].dim == 3
    assert (config.labels, config.seed, config.fusion.strategy) == (None, 0, "concat")


def test_modalities_are_in_the_meshs_order(tmp_path: Path) -> None:
    """Whatever the file's order, encoders and features alike."""
    assert read(tmp_path, HEAD + AUDIO + FEATURES + TEXT).modalities == tuple(Modality)
    assert read(tmp_path, HEAD + AUDIO + TEXT).modalities == (Modality.TEXT, Modality.AUDIO)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """Wherever training was started; one from the root stays."""
    assert read(tmp_path, HEAD + TEXT).manifest == tmp_path / "data" / "manifest.csv"
    absolute = read(tmp_path, f'name = "mood"\nmanifest = "{tmp_path}/m.csv"\n' + TEXT)
    assert absolute.manifest == tmp_path / "m.csv"


def test_the_default_models_recipe_can_be_read() -> None:
    """As it lies in the repository."""
    config = read_config(Path(__file__).parents[3] / "runs" / "emotion6.toml")

    assert (config.name, config.modalities) == ("emotion6", tuple(Modality))


@pytest.mark.parametrize(
    ("toml", "name"),
    [
        (HEAD + "epochs = 3\n" + TEXT, "epochs"),
        (HEAD + TEXT + "pooling = 3\n", "text.pooling"),
        (HEAD + TEXT + "[text.fit]\nepoch = 3\n", "text.fit.epoch"),
        (HEAD + TEXT + "[text.fit.lora]\nr = 3\n", "text.fit.lora.r"),
        (HEAD + TEXT + FEATURES + "size = 3\n", "features.image.size"),
        (HEAD + TEXT + "[fusion]\nwidth = 3\n", "fusion.width"),
        (HEAD + TEXT + '[features.smell]\nversion = "1"\ndim = 1\n', "features.smell"),
    ],
)
def test_an_unknown_key_is_refused_by_its_name(tmp_path: Path, toml: str, name: str) -> None:
    """With the sections that lead to it."""
    with pytest.raises(ConfigError, match=rf"mood\.toml: {name}"):
        read(tmp_path, toml)


@pytest.mark.parametrize(
    ("toml", "name"),
    [
        ('name = "a/b"\nmanifest = "m.csv"\n' + TEXT, "name"),
        ('name = "mood"\n' + TEXT, "manifest"),
        (HEAD + 'seed = "x"\n' + TEXT, "seed"),
        (HEAD + "[text]\n", "text.architecture"),
        (HEAD + TEXT + "[text.fit]\nepochs = 0\n", "text.fit.epochs"),
        (HEAD + TEXT + "[text.fit]\nlearning_rate = 0\n", "text.fit.learning_rate"),
        (HEAD + TEXT + "[text.fit]\nlearning_rate = inf\n", "text.fit.learning_rate"),
        (HEAD + TEXT + "[text.fit]\nweight_decay = -1\n", "text.fit.weight_decay"),
        (HEAD + "hold_out = 1.0\n" + TEXT, "hold_out"),
        (HEAD + "seed = -1\n" + TEXT, "seed"),
        (HEAD + TEXT + "[text.fit]\nclass_balance = 1.1\n", "text.fit.class_balance"),
        (HEAD + TEXT + "[text.fit]\nmixup = -1\n", "text.fit.mixup"),
        (HEAD + TEXT + '[text.fit]\noptimizer = "sgd"\n', "text.fit.optimizer"),
        (HEAD + TEXT + '[text.fit]\nprecision = "fp8"\n', "text.fit.precision"),
        (HEAD + TEXT + "[text.fit.lora]\nrank = 0\n", "text.fit.lora.rank"),
        (HEAD + TEXT + '[features.image]\nversion = "1"\ndim = 0\n', "features.image.dim"),
        (HEAD + TEXT + '[fusion]\nstrategy = "sum"\n', "fusion.strategy"),
        (HEAD + TEXT + '[fusion]\njoin = "group"\n', "fusion.join"),
        (HEAD + TEXT + "[fusion]\nmodality_dropout = 1\n", "fusion.modality_dropout"),
        (HEAD + TEXT + "[fusion]\nknown_steps = -1\n", "fusion.known_steps"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(tmp_path: Path, toml: str, name: str) -> None:
    """Whether it is missing, of another type or out of range."""
    with pytest.raises(ConfigError, match=rf"mood\.toml: {name}: "):
        read(tmp_path, toml)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    """Nobody likes to be told one after the other."""
    with pytest.raises(ConfigError, match=r"seed: .*; text\.fit\.epochs: "):
        read(tmp_path, HEAD + 'seed = "x"\n' + TEXT + "[text.fit]\nepochs = 0\n")


def test_an_encoder_without_a_base_needs_fit(tmp_path: Path) -> None:
    """Its weights would stay random."""
    with pytest.raises(ConfigError, match=r"audio: .*without `base` needs `fit`"):
        read(tmp_path, HEAD + TEXT + '[audio]\narchitecture = "tcn"\n')


def test_a_modality_is_encoded_or_comes_as_features(tmp_path: Path) -> None:
    """Not both."""
    with pytest.raises(ConfigError, match="image: either an encoder or features, not both"):
        read(tmp_path, HEAD + FEATURES + TEXT.replace("[text]", "[image]"))


def test_only_pictures_can_be_blended(tmp_path: Path) -> None:
    """Two sentences or sounds at once are none that a user would send."""
    with pytest.raises(ConfigError, match=r"text\.fit\.mixup: only pictures"):
        read(tmp_path, HEAD + TEXT + "[text.fit]\nmixup = 0.2\n")


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ("[fusion]\nsteps = 9\nknown_steps = 9\n", "known_steps: must be fewer than steps"),
        (
            "[fusion]\nknown_steps = 9\n",
            r"fusion\.known_steps: without hold_out all",
        ),
    ],
)
def test_a_head_learns_from_new_rows_in_the_end(tmp_path: Path, toml: str, reason: str) -> None:
    """There must be such rows, and steps for them."""
    with pytest.raises(ConfigError, match=reason):
        read(tmp_path, HEAD + TEXT + toml)


def test_a_run_needs_a_modality(tmp_path: Path) -> None:
    """There would be nothing to train."""
    with pytest.raises(ConfigError, match=r"at least one of \[text\], \[image\] and \[audio\]"):
        read(tmp_path, HEAD)


@pytest.mark.parametrize("content", [None, b"name = ", b"name = '\xff'"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Whether it is missing, broken or not UTF-8; commands print it without a trace."""
    file = tmp_path / "mood.toml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(TrainingError, match=r"mood\.toml can't be read: "):
        read_config(file)


def test_a_config_does_not_change(tmp_path: Path) -> None:
    """What was read is what is trained."""
    config = read(tmp_path, HEAD + TEXT)

    with pytest.raises(ValidationError):
        config.seed = 1
