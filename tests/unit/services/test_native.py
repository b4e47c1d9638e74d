"""The cure for torchvision and torchaudio where their native libraries don't load."""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

import pytest
import torch

from services import native

LOADABLE = Path(torch.__file__).parent / "lib" / "libc10.so"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package named `companion`, without libraries."""
    folder = tmp_path / "companion"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_a_library_that_is_no_library_is_broken(package: Path) -> None:
    """What the dynamic loader refuses counts as broken."""
    (package / "_C.so").write_bytes(b"not a library")

    assert native._is_broken("companion", "_C*.so")


def test_a_library_that_loads_is_left_alone(package: Path) -> None:
    """Where the library loads there is nothing to cure."""
    (package / "_C.so").symlink_to(LOADABLE)

    assert not native._is_broken("companion", "_C*.so")


def test_a_package_without_libraries_is_left_alone(package: Path) -> None:
    """A build without a native library imports by itself."""
    assert not native._is_broken("companion", "_C*.so")


def test_a_package_that_is_not_installed_is_left_alone() -> None:
    """Nothing stands in for what isn't there: its import fails as usual."""
    assert not native._is_broken("no_such_companion", "_C*.so")


def test_a_package_that_is_imported_already_is_left_alone() -> None:
    """Whoever managed to import it needs no cure."""
    assert not native._is_broken("torch", "lib/*.so")


class Asked(MetaPathFinder):
    """Finds nothing, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.names = list[str]()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """None."""
        self.names.append(name)


def test_the_finder_behind_is_asked_too_while_the_imports_are_cured(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the cure is done only once."""
    cured, asked = list[bool](), Asked()
    monkeypatch.setattr(native, "COMPANIONS", ("companion",))
    monkeypatch.setattr(native, "cure_imports", lambda: cured.append(True))
    others = [finder for finder in sys.meta_path if not isinstance(finder, native._Cure)]
    monkeypatch.setattr(sys, "meta_path", [asked, *others])
    native.cure_when_needed()
    for _ in range(2):
        assert importlib.util.find_spec("companion") is not None
    assert asked.names == ["companion", "companion"]
    assert cured == [True]
