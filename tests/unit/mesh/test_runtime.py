"""What a process asks of the system, seen from a process that asked for it."""

import os
import platform
import subprocess
import sys

import psutil
import pytest

from mesh.runtime import HEAVY, LONG_SLICE, MOST_NICENESS, NICENESS, SHORT_SLICE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has such a policy")

ASK = """
import os, sys, threading
from mesh.runtime import share_cores, yield_cores

def tell():
    with open("/proc/thread-self/sched") as file:
        slices = [line.split()[-1] for line in file if line.startswith("se.slice")]
    print(os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0), *slices)

asked, told = threading.Event(), threading.Event()
earlier = threading.Thread(target=lambda: (asked.wait(), tell(), told.set()))
earlier.start()
share_cores(float(sys.argv[1]))
yield_cores(float(sys.argv[2]))
asked.set()
told.wait()
tell()
later = threading.Thread(target=tell)
later.start()
later.join()
"""


def threads(seconds: float, item_seconds: float = HEAVY) -> list[list[int]]:
    """Policy, niceness and, where the kernel tells, slice: of an earlier thread, main, a later."""
    argv = [sys.executable, "-c", ASK, str(seconds), str(item_seconds)]
    told = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout
    found = [list(map(int, line.split())) for line in told.splitlines()]
    assert len(found) == 3
    return found


def test_no_thread_takes_a_core_from_one_that_computes() -> None:
    """Whether it was there before or comes later; and all of them stay nice."""
    for policy, niceness, *_ in threads(LONG_SLICE):
        nicest = min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19)
        assert (policy, niceness) == (os.SCHED_BATCH, nicest)


@pytest.mark.parametrize("seconds", [LONG_SLICE, SHORT_SLICE])
def test_a_thread_that_has_a_core_goes_on_for_a_slice(seconds: float) -> None:
    """Of the length that was asked for, however nice it became."""
    told = [slices for _, _, *slices in threads(seconds, HEAVY / 3)]
    if tuple(map(int, platform.release().split(".")[:2])) < (6, 12) or [] in told:
        pytest.skip("this kernel has no slices of a thread's own, or does not tell")
    assert told == [[int(1e9 * seconds)]] * 3


@pytest.mark.parametrize(
    ("item_seconds", "more"), [(10 * HEAVY, 0), (HEAVY / 3, 5), (1e-9, 99), (0, 0)]
)
def test_the_lightest_gets_the_least(item_seconds: float, more: int) -> None:
    """A third of the work, a third of the cores: each step of niceness weighs a fifth less.

    What could not be measured changes nothing.
    """
    expected = min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS + more, MOST_NICENESS)
    found = threads(LONG_SLICE, item_seconds)
    assert [niceness for _, niceness, *_ in found] == [expected] * 3


CHILD = """
import sys
from mesh.runtime import end_with_parent
end_with_parent(int(sys.argv[1]))
print(flush=True)
input()
"""
PARENT = f"""
import os, subprocess, sys
argv = [sys.executable, "-c", {CHILD!r}, str(os.getpid())]
child = subprocess.Popen(argv, stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
"""


def test_a_process_ends_with_the_one_that_started_it() -> None:
    """Though that was killed."""
    argv, pipe = [sys.executable, "-c", PARENT], subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.stdout.readline()  # Now it has asked for it.
        parent.kill()
        child.wait(timeout=10)


def test_a_process_whose_starter_has_ended_already_ends_at_once() -> None:
    """Its parent is another one by now."""
    argv = [sys.executable, "-c", CHILD, "1"]
    done = subprocess.run(argv, input=b"", capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (1, b"")
