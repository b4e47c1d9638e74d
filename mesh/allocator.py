"""glibc's allocator as the mesh needs it. Other C libraries have no such knobs, and are left alone.

By default it keeps memory apart for up to eight threads a core, in arenas, none of which serves the
others or gives much back.
"""

import ctypes
from collections.abc import Mapping
from typing import Final

# From <malloc.h>. The last two hold the largest that they take, and what the system is asked for at
# a time, in bytes.
_ARENA_MAX: Final = -8
_MMAP_THRESHOLD: Final = -3
_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2

# In single runs on two cores the mesh took 65 MiB less with two than by default, and no less with
# one.
ARENAS: Final = 2
# The size in bytes from which a block is its own mapping, which goes back to the system with it.
LARGE_BLOCK: Final = 256 * 1024


def share_arenas() -> None:
    """Let all threads of the process use the same few arenas. Call it before there are many."""
    _tell({_ARENA_MAX: ARENAS})


def give_memory_back() -> None:
    """Return large blocks to the system as soon as they are free.

    By default more and more of them are kept for each thread: after a hundred bodies of 20 MB the
    gateway held 900 MB and grew on, and with this 180.
    """
    _tell({_MMAP_THRESHOLD: LARGE_BLOCK})


def keep_freed_memory() -> None:
    """Keep what torch frees, for its next allocation.

    By default every large activation is mapped by the system anew, which zeroes it page by page.
    """
    _tell({_MMAP_THRESHOLD: 32 * 1024**2, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 256 * 1024**2})


def give_back_free() -> None:
    """Return to the system all whole pages that nothing uses now, and that would else be kept."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)
    trim(0)


def _tell(options: Mapping[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda option, value: None)
    for option, value in options.items():
        mallopt(option, value)
