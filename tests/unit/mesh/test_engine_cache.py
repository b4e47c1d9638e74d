"""What engines keep on disk."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh.engine_cache import KEPT, SEAL, WRITTEN, EngineCache
from mesh.settings import NodeSettings

KEY = {"version": "sha256:1", "openvino": "1"}


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    """A cache whose folder is not there yet."""
    return EngineCache(tmp_path / "not" / "yet")


def filled(content: str) -> Callable[[Path], None]:
    """What writes an entry of one file."""

    def fill(folder: Path) -> None:
        (folder / "model").write_text(content)

    return fill


def content(entry: Path | None) -> str | None:
    """An entry's file."""
    return entry and (entry / "model").read_text()


def test_an_entry_is_read_under_its_key_alone(cache: EngineCache) -> None:
    """Whatever else is in the folder."""
    assert cache.read(KEY) is None
    cache.write(KEY, filled("one"))
    assert content(cache.read(KEY)) == "one"
    assert cache.read({**KEY, "openvino": "2"}) is None


def test_a_whole_entry_is_kept(cache: EngineCache) -> None:
    """Others may be about to use it; and nothing else is left in the folder."""
    for text in ("one", "two"):
        assert content(cache.write(KEY, filled(text))) == "one"
    assert content(cache.read(KEY)) == "one"
    assert cache.folder is not None
    assert len([*cache.folder.iterdir()]) == 1


def test_a_forgotten_entry_can_be_written_anew(cache: EngineCache) -> None:
    """As where it is whole and yet no longer true."""
    cache.forget(KEY)
    cache.write(KEY, filled("one"))
    cache.forget(KEY)
    assert cache.read(KEY) is None
    assert content(cache.write(KEY, filled("two"))) == "two"


def test_processes_of_one_id_write_the_same_entry_at_once(cache: EngineCache) -> None:
    """As in containers that share a volume: the quicker one's is kept."""

    def fill(folder: Path) -> None:
        assert content(cache.write(KEY, filled("quicker"))) == "quicker"
        filled("slower")(folder)

    assert content(cache.write(KEY, fill)) == "quicker"
    assert cache.folder is not None
    assert len([*cache.folder.iterdir()]) == 1


def test_what_others_have_half_written_is_left_for_a_while(cache: EngineCache) -> None:
    """It is removed once they can't be at it any more."""
    cache.write(KEY, filled("one"))
    assert cache.folder is not None
    old, new = cache.folder / "old.part", cache.folder / "new.part"
    for part in (old, new):
        part.mkdir()
    long_ago = time.time() - WRITTEN - 60
    os.utime(old, (long_ago, long_ago))
    cache.write({"number": 1}, filled("two"))
    assert (old.exists(), new.exists()) == (False, True)


def cut(entry: Path) -> None:
    """Lose the end of the file."""
    (entry / "model").write_text("on")


def lose(entry: Path) -> None:
    """Lose the file."""
    (entry / "model").unlink()


def add(entry: Path) -> None:
    """Put in what was not written."""
    (entry / "more").touch()


def break_seal(entry: Path) -> None:
    """No JSON."""
    (entry / SEAL).write_text("{")


def change_seal(entry: Path) -> None:
    """The seal of another key."""
    (entry / SEAL).write_text((entry / SEAL).read_text().replace("sha256:1", "sha256:2"))


@pytest.mark.parametrize("damage", [cut, lose, add, break_seal, change_seal])
def test_a_damaged_or_foreign_entry_is_none_and_can_be_made_again(
    cache: EngineCache, damage: Callable[[Path], None]
) -> None:
    """By its hashes and its key."""
    entry = cache.write(KEY, filled("one"))
    assert entry is not None
    damage(entry)
    assert cache.read(KEY) is None
    cache.write(KEY, filled("one"))
    assert content(cache.read(KEY)) == "one"


@pytest.mark.parametrize("error", [OSError("full"), RuntimeError("can't write the model")])
def test_a_failed_writing_leaves_nothing_and_is_no_error(
    cache: EngineCache, error: Exception
) -> None:
    """The engine then works from memory."""

    def fail(folder: Path) -> None:
        (folder / "model").touch()
        raise error

    assert cache.write(KEY, fail) is None
    assert cache.folder is not None
    assert not [*cache.folder.iterdir()]


def test_a_folder_that_can_not_be_made_is_no_error(tmp_path: Path) -> None:
    """A file is in its place."""
    (tmp_path / "file").touch()
    cache = EngineCache(tmp_path / "file")
    assert cache.write(KEY, filled("one")) is None
    assert cache.read(KEY) is None


def test_without_a_folder_nothing_is_kept() -> None:
    """MESH_ENGINE_CACHE is empty."""
    cache = EngineCache.of(NodeSettings(engine_cache=""))
    assert cache.write(KEY, filled("one")) is None
    assert cache.read(KEY) is None


def test_entries_that_nobody_reads_are_removed(cache: EngineCache) -> None:
    """Reading one keeps it for another while."""
    long_ago = time.time() - KEPT - 60
    for number in range(2):
        entry = cache.write({"number": number}, filled("old"))
        assert entry is not None
        os.utime(entry / SEAL, (long_ago, long_ago))
    cache.read({"number": 1})
    cache.write(KEY, filled("new"))
    assert cache.read({"number": 0}) is None
    assert content(cache.read({"number": 1})) == "old"
