"""Files that are mapped into this process's memory: an engine's weights, libraries."""

import ctypes
import mmap
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

# How /proc/self/smaps shows what is read and shared; libraries are private ("r--p", "r-xp").
READ_AND_SHARED: Final = b"r--s"
# What it counts of a mapping that is not as the file is, in memory and out of it.
DIFFERENT: Final = (b"Anonymous:", b"Swap:")


def unload_files() -> None:
    """Give back the memory of all files that are shared; what is used of them is read again.

    Of weights an engine makes a form of its own, and needs little of the file thereafter. The
    system may still hold the file, and drops it when memory is short. Linux alone tells what is
    mapped; elsewhere nothing happens.
    """
    _unload(lambda permissions: permissions == READ_AND_SHARED)


def unload_libraries() -> None:
    """The same of libraries, most of whose code and constants are used once, when it is loaded.

    For a process whose other threads, if any, load nothing: a library is mapped to be read at
    first, and where that changes between our look and the system's act, what was written is lost.
    """
    _unload(lambda permissions: b"w" not in permissions)


def _unload(is_meant: Callable[[bytes], bool]) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    for start, end in list(_mapped(is_meant)):
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _mapped(is_meant: Callable[[bytes], bool]) -> Iterator[tuple[int, int]]:
    """The addresses of such mappings that are as their files are, by proc_pid_smaps(5).

    A line like "7f24c0000000-7f24c5000000 r-xp 00000000 08:01 42 /a/file" begins each. Addresses
    that the loader put into a library are pages that differ from its file.
    """
    begin, is_same = b"", False
    with suppress(OSError):  # A sandbox may have no such file.
        for line in Path("/proc/self/smaps").read_bytes().splitlines():
            words = line.split(maxsplit=5)
            if not words[0].endswith(b":"):
                begin = words[0]
                is_file = words[-1].startswith(b"/") and not words[-1].startswith(b"/dev/")
                is_same = is_file and is_meant(words[1])
            elif words[0] in DIFFERENT:
                is_same = is_same and words[1] == b"0"
            elif words[0] == b"VmFlags:" and is_same:
                start, end = begin.split(b"-")
                yield int(start, 16), int(end, 16)
