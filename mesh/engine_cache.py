"""What engines keep on disk from one start to the next: converted networks, and what was measured.

    <MESH_ENGINE_CACHE>/<hash of the key>/    the files of one entry
                                   seal.json  its key, and the files' SHA-256

An entry is written as a whole or not at all. One that is damaged, or of another key, is no entry.
Nothing here must be kept: without it a start takes longer.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import structlog

from mesh.artifact import sha256
from mesh.settings import NodeSettings

log = structlog.stdlib.get_logger(__name__)

Key = Mapping[str, Any]

SEAL: Final = "seal.json"
# Entries that nobody has read for so long, in seconds, are removed.
KEPT: Final = 30 * 86400.0
# What is still half written after so many seconds was left by a process that ended.
WRITTEN: Final = 3600.0


@dataclass(frozen=True, slots=True)
class EngineCache:
    """The folder MESH_ENGINE_CACHE, or None: then nothing is kept."""

    folder: Path | None

    @classmethod
    def of(cls, settings: NodeSettings) -> Self:
        """The cache that settings name."""
        return cls(Path(settings.engine_cache) if settings.engine_cache else None)

    def keeps(self) -> bool:
        """Whether there is a folder, and this process may write into it."""
        if self.folder is None:
            return False
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.access(self.folder, os.W_OK | os.X_OK)

    def read(self, key: Key) -> Path | None:
        """The folder of the key's entry, if there is a whole one."""
        if self.folder is None:
            return None
        place = self.folder / _name(key)
        if not _is_whole(place, key):
            return None
        with suppress(OSError):
            os.utime(place / SEAL)
        return place

    def write(self, key: Key, fill: Callable[[Path], None]) -> Path | None:
        """Let `fill` write the key's entry into an empty folder, and keep it.

        The entry's folder, which has what another process wrote where that was quicker; None where
        nothing can be written, which is only logged.
        """
        if self.folder is None:
            return None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with TemporaryDirectory(dir=self.folder, suffix=".part") as part:
                entry = Path(part, "entry")
                entry.mkdir()
                fill(entry)
                (entry / SEAL).write_text(json.dumps(_seal(entry, key)))
                place = _put(entry, self.folder / _name(key), key)
            _forget_unread(self.folder)
        except (OSError, RuntimeError) as error:  # The latter is openvino's, where a disk is full.
            log.warning("engine_cache_not_written", folder=str(self.folder), reason=str(error))
            return None
        return place

    def forget(self, key: Key) -> None:
        """Remove the key's entry, if there is one."""
        if self.folder is not None:
            shutil.rmtree(self.folder / _name(key), ignore_errors=True)


def sources_hash(module: str) -> str:
    """SHA-256 over the source files of the package that a module is in."""
    digest = hashlib.sha256()
    for file in sorted(Path(str(sys.modules[module].__file__)).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _name(key: Key) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]


def _seal(folder: Path, key: Key) -> dict[str, Any]:
    names = sorted(file.name for file in folder.iterdir() if file.name != SEAL)
    return {"key": dict(key), "files": {name: sha256(folder / name) for name in names}}


def _is_whole(place: Path, key: Key) -> bool:
    try:
        return bool(json.loads((place / SEAL).read_text()) == _seal(place, key))
    except (OSError, ValueError):
        return False


def _put(entry: Path, place: Path, key: Key) -> Path:
    """Move an entry to its place, unless a whole one is there, which others may be about to use."""
    try:
        entry.rename(place)
    except OSError:
        if not _is_whole(place, key):
            place.rename(entry.with_name("damaged"))  # Into the folder that is removed next.
            entry.rename(place)
    return place


def _forget_unread(folder: Path) -> None:
    for seal in folder.glob(f"*/{SEAL}"):
        if _is_older(seal, KEPT):
            shutil.rmtree(seal.parent, ignore_errors=True)
    for part in folder.glob("*.part"):
        if _is_older(part, WRITTEN):
            shutil.rmtree(part, ignore_errors=True)


def _is_older(path: Path, seconds: float) -> bool:
    with suppress(OSError):
        return path.stat().st_mtime < time.time() - seconds
    return False
