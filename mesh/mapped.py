"""Files that are mapped into this process's memory."""

import ctypes
import mmap
import sys
from pathlib import Path


def unload(file: Path) -> None:
    """Give back the memory of what is mapped of a file; what is used again is read again.

    Only for a file that is mapped to be read. Linux alone tells what is mapped; elsewhere, and for
    a file that is not, nothing happens.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    for start, end in _mapped(file.resolve()):
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _mapped(file: Path) -> list[tuple[int, int]]:
    """The addresses: lines such as "7f24c0000000-7f24c5000000 r--s 00000000 08:01 42   /a/file"."""
    lines = (line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines())
    ranges = [line[0].split("-") for line in lines if line[5:] == [str(file)]]
    return [(int(start, 16), int(end, 16)) for start, end in ranges]
