"""`sensemesh verify` on folders of models."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.__main__ import main
from mesh.artifact import Artifact
from tests.fake_artifacts import write_encoder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of one model of one encoder."""
    write_encoder(tmp_path / "models" / "tiny" / "text")
    return tmp_path / "models"


def run(*args: object) -> tuple[int, str]:
    """The exit status and everything that was printed."""
    result = CliRunner().invoke(main, ["verify", *map(str, args)])
    return result.exit_code, result.output.strip()


def test_a_parts_digest_is_its_version(models: Path) -> None:
    """So that what was verified can be found in /v1/model."""
    part = models / "tiny" / "text"
    assert run(part) == (0, Artifact.open(part).version)


def test_a_folder_of_models_holds_what_was_meant(models: Path) -> None:
    """Its digest comes back."""
    _, digest = run(models)
    assert run(models, digest) == (0, digest)


def test_any_other_content_is_refused_in_one_line(models: Path) -> None:
    """Of any file but the README; both digests are told."""
    _, digest = run(models)
    (models / "tiny" / "README.md").write_text("for people")
    assert run(models, digest) == (0, digest)
    (models / "tiny" / "text" / "golden" / "0.txt").write_bytes(b"other")
    status, output = run(models, digest)
    assert (status, output.startswith("Error: ")) == (1, True)
    assert output.endswith(f"not {digest}")


def test_a_folder_that_is_not_there_is_refused(models: Path) -> None:
    """An init container then never lets the node start."""
    assert run(models / "other", "sha256:0")[0] == 2
