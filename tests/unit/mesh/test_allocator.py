"""What glibc is told, in processes of their own: it can't be taken back."""

import ctypes
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="the C library is not glibc"
)

THREADS = """
import ctypes, threading
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(9)

def hold():
    libc.malloc(1000)
    together.wait()

for _ in range(8):
    threading.Thread(target=hold).start()
together.wait()
libc.malloc_stats()
"""
LARGE = """
import ctypes, numpy, os
blocks = [numpy.ones(8_000_000 // 8) for _ in range(20)]
del blocks
with open("/proc/self/statm") as file:
    print(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
"""


TRIMMED = LARGE.replace("del blocks", "del blocks; allocator.give_back_free()")


def told(what: str, program: str) -> subprocess.CompletedProcess[str]:
    """What a program prints that first calls one of the module's functions, or none."""
    own = {
        name: v for name, v in os.environ.items() if "MALLOC" not in name and "GLIBC" not in name
    }
    lines = f"from mesh import allocator\nallocator.{what}()\n" if what else ""
    return subprocess.run(
        [sys.executable, "-c", lines + program], capture_output=True, text=True, check=True, env=own
    )


def test_many_threads_share_two_arenas() -> None:
    """Of themselves they take one each."""
    assert told("share_arenas", THREADS).stderr.count("Arena ") == 2
    assert told("", THREADS).stderr.count("Arena ") > 4


def test_freed_memory_is_kept_or_given_back() -> None:
    """160 MB in blocks of 8: the process keeps them, or has next to none of them any more."""
    kept, given = (int(told(f, LARGE).stdout) for f in ("keep_freed_memory", "give_memory_back"))

    assert kept - given > 100e6


def test_what_was_kept_can_be_given_back() -> None:
    """All of it at once, by a process that wants it no more."""
    kept, given = (int(told("keep_freed_memory", program).stdout) for program in (LARGE, TRIMMED))

    assert kept - given > 100e6
