"""What a model's folder says of the encoders that it needs and brings."""

from pathlib import Path

import pytest
from click import ClickException

from cli.model_parts import encoder_folders, modalities_of
from tests.unit.cli.model_folders import write_model


def test_a_model_takes_what_its_head_was_trained_on(tmp_path: Path) -> None:
    """Whichever other folders lie there, and always in one order."""
    model = write_model(tmp_path / "m", takes=["audio", "text"], brings=["text", "image"])
    assert modalities_of(model) == ["text", "audio"]


def test_only_encoders_that_a_head_needs_are_found(tmp_path: Path) -> None:
    """One that nobody names is left alone; one that is named and not there is None."""
    model = write_model(tmp_path / "m", takes=["text", "audio"], brings=["text", "image"])
    assert encoder_folders([model]) == {"text": model, "audio": None}


def test_any_of_several_models_may_need_an_encoder(tmp_path: Path) -> None:
    """Each comes from the first model that needs and brings it."""
    new = write_model(tmp_path / "new", takes=["text", "image"], brings=["text", "audio"])
    old = write_model(tmp_path / "old", takes=["text", "image", "audio"], brings=["image", "audio"])
    assert encoder_folders([new, old]) == {"text": new, "image": old, "audio": old}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "can't be read: No such file or directory"),
        ("{", "is no model's"),
        ("[]", "is no model's"),
        ("{}", "is no model's"),
        ('{"encoders": ["text"]}', "is no model's"),
        ('{"encoders": {}}', "names no encoder that there is"),
        ('{"encoders": {"smell": {}}}', "names no encoder that there is"),
    ],
)
def test_a_config_that_does_not_say_is_named(tmp_path: Path, config: str | None, said: str) -> None:
    """In one line, with the file's path."""
    file = tmp_path / "fusion" / "config.json"
    file.parent.mkdir()
    if config is not None:
        file.write_text(config)
    with pytest.raises(ClickException) as caught:
        modalities_of(tmp_path)
    assert str(caught.value).startswith(f"{file} {said}")
    assert "\n" not in str(caught.value)
