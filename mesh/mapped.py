"""Files that are mapped into this process's memory: libraries, an engine's weights."""

import ctypes
import mmap
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

ANONYMOUS: Final = b"Anonymous:"


def unload_files() -> None:
    """Give back the memory of all that only reads a file; what is used of it again is read again.

    Most of a library's code is used once, to load or to compile a model, and of weights an engine
    makes a form of its own. The system may still hold the file, and drops it when memory is short.
    Linux alone tells what is mapped; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    for start, end in _mapped():
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _mapped() -> Iterator[tuple[int, int]]:
    """The addresses of mappings that are as their files are, by proc_pid_smaps(5).

    A line like "7f24c0000000-7f24c5000000 r-xp 00000000 08:01 42 /a/file" begins each, and pages
    that differ from the file, such as addresses that the loader put in, count as anonymous.
    """
    reads, addresses = False, b""
    with suppress(OSError):  # A sandbox may have no such file.
        for line in Path("/proc/self/smaps").read_bytes().splitlines():
            words = line.split(maxsplit=5)
            if not words[0].endswith(b":"):
                addresses, permissions = words[:2]
                reads = b"w" not in permissions and words[-1].startswith(b"/")
            elif reads and words[:2] == [ANONYMOUS, b"0"]:
                start, end = addresses.split(b"-")
                yield int(start, 16), int(end, 16)
