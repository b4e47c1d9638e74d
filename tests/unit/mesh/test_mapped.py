"""Mapped files out of memory, and back."""

import ctypes
import mmap
import sys
from pathlib import Path

import pytest

from mesh.mapped import unload_files

SIZE = 4 * 1024**2


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
def test_what_was_written_over_a_file_stays(tmp_path: Path) -> None:
    """As in a library's addresses, which are put in when it is loaded, and then only read."""
    file = tmp_path / "a library"
    file.write_bytes(bytes(SIZE))
    with (
        file.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) as mapped,
    ):
        mapped[:5] = b"other"
        start = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(mapped)))
        assert ctypes.CDLL(None).mprotect(start, ctypes.c_size_t(SIZE), mmap.PROT_READ) == 0
        unload_files()
        assert mapped[:5] == b"other"
