"""What training writes and a node loads: a folder with everything that decides its answers.

    models/<name>/<part>/config.json        model and preprocessing, base weights, tolerances
                         model.safetensors  weights that training changed, where there are any
                         golden/...         example inputs, and the outputs that they must give
                         README.md          for people; not part of the version

The version is a hash over the files' hashes, so that an embedding computed by one content is never
taken for that of another. Nothing is unpickled, and nothing is downloaded.
"""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from mesh.errors import MeshError

if TYPE_CHECKING:  # A node whose engine needs no torch doesn't import it.
    import torch

OUTPUTS: Final = "golden/outputs.safetensors"


class ArtifactError(MeshError):
    """An artifact, or the base weights that it names, can't be used. The node must not start."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One opened artifact. `config` is config.json, `version` "sha256:" and 64 hex digits."""

    path: Path
    config: Mapping[str, Any]
    version: str

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read an artifact's config and compute its version; ArtifactError where it can't be."""
        try:
            config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{path} holds no readable config.json: {error}") from error
        return cls(path, config, version_of(path))

    @property
    def name(self) -> str:
        """The model's name, such as "emotion6"."""
        return str(self.config["name"])

    def weights(self) -> "dict[str, torch.Tensor]":
        """The weights that training changed, in the dtype that they are stored in; may be none."""
        import safetensors.torch

        file = self.path / "model.safetensors"
        return safetensors.torch.load_file(file) if file.exists() else {}

    def base_weights(self) -> Path:
        """The file of pretrained weights that the config's `base` names, its hash checked."""
        return self.file("base")

    def file(self, key: str) -> Path:
        """The file that the config's `key` names by `source` and `sha256`, its hash checked."""
        entry = self.config[key]
        file = locate(entry["source"], self.path)
        if (found := sha256(file)) != entry["sha256"]:
            raise ArtifactError(f"{entry['source']} has SHA-256 {found}, not {entry['sha256']}")
        return file

    def check_preprocess(self, revision: int) -> None:
        """ArtifactError where the artifact was made for another revision of preprocessing."""
        if (made_for := self.config.get("preprocess_revision")) != revision:
            raise ArtifactError(
                f"{self.path} was made for preprocess_revision {made_for}, but this is {revision}"
            )

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Whatever goes wrong inside is the artifact's fault, and becomes an ArtifactError."""
        try:
            yield
        except ArtifactError:
            raise
        except Exception as error:
            detail = f"{type(error).__name__}: {error}"
            raise ArtifactError(f"{self.path} can't be used: {detail}") from error

    def golden_inputs(self) -> list[bytes]:
        """The golden examples' raw inputs, in the order of `golden_outputs`."""
        return [(self.path / name).read_bytes() for name in self.config["golden"]["inputs"]]

    def golden_outputs(self) -> dict[str, npt.NDArray[np.float32]]:
        """What torch in float32 computed for the golden inputs when the artifact was written."""
        return safetensors.numpy.load_file(self.path / OUTPUTS)

    def tolerance(self, engine_class: str) -> float:
        """The least cosine between an output and its golden one, for "fp32" or "bf16"."""
        return float(self.config["golden"]["tolerance"][engine_class])


def version_of(path: Path) -> str:
    """SHA-256 over the sorted (path, SHA-256) of the folder's files but the README."""
    lines = (f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n" for file in _files(path))
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(path: Path) -> Iterator[Path]:
    found = (file for file in path.rglob("*") if file.is_file() and file.name != "README.md")
    return iter(sorted(found, key=lambda file: file.relative_to(path).as_posix()))


def sha256(file: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def locate(source: str, folder: Path) -> Path:
    """The local file that a source names, without importing or downloading anything.

    `package:NAME/PATH` is a file inside an installed Python package, `path:PATH` one on disk
    (relative to `folder`), `hf:ORG/REPO@REVISION/PATH` one in the local Hugging Face cache.
    """
    scheme, _, rest = source.partition(":")
    finders: dict[str, Callable[[str], Path]] = {
        "package": _in_package,
        "path": folder.joinpath,
        "hf": _in_hub_cache,
    }
    if scheme not in finders:
        raise ArtifactError(f"{source!r} is none of package:, path: and hf:")
    file = finders[scheme](rest)
    if not file.is_file():
        raise ArtifactError(f"{source!r} is not installed: there is no {file}")
    return file


def _in_package(rest: str) -> Path:
    package, _, inner = rest.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ArtifactError(f"the Python package {package} is not installed")
    return Path(spec.submodule_search_locations[0]) / inner


def _in_hub_cache(rest: str) -> Path:
    from huggingface_hub import hf_hub_download  # Only artifacts that name a hub need it.
    from huggingface_hub.errors import LocalEntryNotFoundError

    org, repo, inner = rest.split("/", 2)
    repo, _, revision = repo.partition("@")
    try:
        file = hf_hub_download(
            f"{org}/{repo}", inner, revision=revision or None, local_files_only=True
        )
    except LocalEntryNotFoundError as error:
        raise ArtifactError(f"hf:{rest} is not in the local cache; fetch it first") from error
    return Path(file)
