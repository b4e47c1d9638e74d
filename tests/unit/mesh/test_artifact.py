"""Artifacts on disk: what is read, what makes the version, and what is refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from mesh.artifact import OUTPUTS, Artifact, ArtifactError, locate, sha256, version_of
from mesh.errors import MeshError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole little artifact, with base weights beside it."""
    (tmp_path / "base.bin").write_bytes(b"base")
    artifact = tmp_path / "artifact"
    (artifact / "golden").mkdir(parents=True)
    (artifact / "golden" / "0.txt").write_bytes(b"hello")
    (artifact / "README.md").write_text("for people")
    safetensors.torch.save_file({"embeddings": torch.ones(1, 3)}, artifact / OUTPUTS)
    write_config(
        artifact,
        name="tiny",
        base={"source": "path:../base.bin", "sha256": hashlib.sha256(b"base").hexdigest()},
        golden={"inputs": ["golden/0.txt"], "tolerance": {"fp32": 0.9999}},
    )
    return artifact


def write_config(folder: Path, **config: Any) -> None:
    """Write a config.json."""
    (folder / "config.json").write_text(json.dumps(config))


def test_an_artifact_gives_its_parts(folder: Path) -> None:
    """Name, golden examples, tolerance and base weights."""
    artifact = Artifact.open(folder)
    assert artifact.name == "tiny"
    assert artifact.golden_inputs() == [b"hello"]
    assert artifact.golden_outputs()["embeddings"].tolist() == [[1, 1, 1]]
    assert artifact.tolerance("fp32") == 0.9999
    assert artifact.base_weights().read_bytes() == b"base"


def test_weights_are_those_that_training_changed_and_may_be_none(folder: Path) -> None:
    """In the dtype that they are stored in."""
    assert Artifact.open(folder).weights() == {}
    safetensors.torch.save_file({"w": torch.ones(2).half()}, folder / "model.safetensors")
    assert Artifact.open(folder).weights()["w"].dtype is torch.float16


def test_the_version_is_of_the_content_and_not_of_the_place(folder: Path) -> None:
    """A moved folder keeps its version, and the README has no part in it."""
    version = Artifact.open(folder).version
    assert version.startswith("sha256:")
    assert len(version) == len("sha256:") + 64
    (folder / "README.md").write_text("said otherwise")
    assert version_of(folder.rename(folder.parent / "moved")) == version


@pytest.mark.parametrize("name", ["config.json", "golden/0.txt", "added.txt"])
def test_any_other_file_changes_the_version(folder: Path, name: str) -> None:
    """An embedding of one content is never taken for that of another."""
    version = version_of(folder)
    (folder / name).write_bytes(b"changed")
    assert version_of(folder) != version


def test_a_renamed_file_changes_the_version(folder: Path) -> None:
    """Paths count, not only contents."""
    version = version_of(folder)
    (folder / "golden" / "0.txt").rename(folder / "golden" / "1.txt")
    assert version_of(folder) != version


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(ArtifactError, match=str(tmp_path)):
        Artifact.open(tmp_path)


def test_a_config_that_is_not_json_is_refused(folder: Path) -> None:
    """With the reason."""
    (folder / "config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"no readable config\.json"):
        Artifact.open(folder)


def test_base_weights_of_another_content_are_refused(folder: Path) -> None:
    """A model of other weights is another model."""
    (folder.parent / "base.bin").write_bytes(b"other")
    with pytest.raises(ArtifactError, match="SHA-256"):
        Artifact.open(folder).base_weights()


def test_a_file_of_a_package_is_found_without_importing_it(folder: Path) -> None:
    """Where pip put it."""
    assert locate("package:prometheus_client/__init__.py", folder).name == "__init__.py"


@pytest.mark.parametrize(
    "source",
    [
        "path:missing.bin",
        "package:no_such_package/x",
        "package:prometheus_client/missing.bin",
        "https://example.org/model.bin",
        "model.bin",
    ],
)
def test_a_source_that_is_not_there_is_refused(folder: Path, source: str) -> None:
    """Nothing is downloaded."""
    with pytest.raises(ArtifactError):
        locate(source, folder)


def test_a_hub_source_is_read_from_the_local_cache_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not in it is an error, not a download."""
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ArtifactError, match="local cache"):
        locate("hf:some/model@main/model.safetensors", folder)


def test_an_artifact_error_is_ours_and_not_the_callers() -> None:
    """No request causes it."""
    assert ArtifactError("x").http_status == MeshError.http_status


def test_sha256_is_of_the_files_content(tmp_path: Path) -> None:
    """In hexadecimal."""
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()
