"""Files that are mapped into this process's memory to be read, such as an engine's weights."""

import ctypes
import mmap
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

# How /proc/self/maps shows them; libraries are private ("r--p").
READ_AND_SHARED: Final = b"r--s"


def unload_files() -> None:
    """Give back the memory of all such files; what is used of them again is read again.

    Of weights an engine makes a form of its own, and needs little of the file thereafter. The
    system may still hold the file, and drops it when memory is short. Linux alone tells what is
    mapped; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    for start, end in _mapped():
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _mapped() -> Iterator[tuple[int, int]]:
    """The addresses: of lines like "7f24c0000000-7f24c5000000 r--s 00000000 08:01 42 /a/file"."""
    with suppress(OSError):  # A sandbox may have no such file.
        for line in Path("/proc/self/maps").read_bytes().splitlines():
            addresses, permissions, *_ = line.split(maxsplit=2)
            if permissions == READ_AND_SHARED:
                start, end = addresses.split(b"-")
                yield int(start, 16), int(end, 16)
