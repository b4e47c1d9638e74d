"""Mapped files out of memory, and back."""

import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.mapped import unload_files

SIZE = 4 * 1024**2

# Maps a file privately twice, and writes into one of them before it is only to be read.
PROGRAM = f"""
import ctypes, mmap, sys
from mesh.mapped import unload_libraries
from tests.unit.mesh.test_mapped import resident

with open(sys.argv[1], "rb") as file:
    same = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    other = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
other[:5] = b"other"
start = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(other)))
assert ctypes.CDLL(None).mprotect(start, ctypes.c_size_t({SIZE}), mmap.PROT_READ) == 0
content = same[:]
before = resident()
unload_libraries()
print(resident() < before - {SIZE} * 0.9, same[:] == content, other[:5])
"""


def resident() -> int:
    """Bytes of files that this process has in memory."""
    found = Path("/proc/self/status").read_text().partition("RssFile:")[2]
    return 1024 * int(found.split()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells what is mapped")
def test_what_is_unloaded_takes_no_memory_and_reads_as_before(tmp_path: Path) -> None:
    """It comes back piece by piece."""
    file = tmp_path / "a name.bin"
    file.write_bytes(bytes(range(256)) * (SIZE // 256))
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == file.read_bytes()
        before = resident()
        unload_files()
        assert resident() < before - 0.9 * SIZE
        assert mapped[:] == file.read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells what is mapped")
def test_libraries_are_unloaded_where_they_are_as_their_files(tmp_path: Path) -> None:
    """What was written over one stays: the addresses that are put in when it is loaded.

    In a process of its own, in which nothing else is loaded meanwhile.
    """
    file = tmp_path / "a library"
    file.write_bytes(bytes(range(256)) * (SIZE // 256))
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file)], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["True", "True", "b'other'"]
