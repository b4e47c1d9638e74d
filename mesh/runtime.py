"""What a process of the mesh asks of the system and of its own interpreter before it serves."""

import contextlib
import ctypes
import gc
import math
import os
import platform
import signal
import struct
import sys
from typing import Final

# New objects that survive before Python looks for cycles among them, instead of its 700, most of
# which are still in use. Ours make few.
COLLECT_AFTER: Final = 20_000
# How much nicer a ready node is, at least, and the most that there is.
NICENESS: Final = 5
MOST_NICENESS: Final = 19
# By how much less each step of it weighs (sched(7)).
NICENESS_STEP: Final = 1.25
# Seconds of a core for an item of which a node stays as it is. The steps that are left reach to a
# twentieth of it.
HEAVY: Final = 0.02
# Seconds for which a thread may go on once it has a core that others want, too. The kernel's own 1
# to 3 ms cut a batch of the model into pieces, each of which begins with caches that others used.
# Gateway and fusion do little at a time, and come next the sooner the less they ask for.
LONG_SLICE: Final = 0.005
SHORT_SLICE: Final = 0.001

# What sched_setattr(2) takes, from <linux/sched/types.h>: size, policy, flags, nice, priority,
# runtime (for us, from Linux 6.12 on, the slice in nanoseconds), deadline, period, and two clamps.
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQII")
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274, "riscv64": 274}

# From <linux/prctl.h>.
_PR_SET_PDEATHSIG: Final = 1


def share_cores(seconds: float) -> None:
    """Let a thread that wakes up wait for a core instead of taking it from one that computes.

    A model that is interrupted for every message finds the processor's caches used by another: on
    two cores the mesh answers a fifth more requests by this and by slices of so many `seconds`, and
    an idle core is there at once as before. Holds for all threads, which become as nice as the
    caller, and for those that they start. Linux alone has such a policy, and slices from 6.12 on.
    """
    if sys.platform == "linux":
        niceness = os.getpriority(os.PRIO_PROCESS, 0)
        for thread in map(int, os.listdir("/proc/self/task")):
            with contextlib.suppress(OSError):  # It has just ended, or a sandbox forbids it.
                if not _set_slice(thread, niceness, int(1e9 * seconds)):
                    os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))


def _set_slice(thread: int, niceness: int, nanoseconds: int) -> bool:
    """Whether the system took it."""
    call = _SCHED_SETATTR.get(platform.machine())
    if call is None or sys.maxsize < 2**32:
        return False
    asked = (os.SCHED_BATCH, 0, niceness, 0, nanoseconds, 0, 0, 0, 0)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, *asked)
    return bool(ctypes.CDLL(None).syscall(call, thread, attributes, 0) == 0)


def yield_cores(item_seconds: float | None = None) -> None:
    """Let other programs, and the gateway, have more of a core; what is left is this process's.

    The gateway does little for each request, and refuses some at once: that must not wait for
    models, which keep all cores busy under load. And the less of a core an item needs, the less the
    process gets: a request needs all of its encoders and waits for the last one. With shares in
    proportion to what their items cost they end together; with equal ones the slowest waits for the
    others.

    Holds for all threads and those that they start. Call it while no thread is being started, and
    not before the process is loaded: until then those that work wait for it.
    """
    if sys.platform != "linux":  # Elsewhere threads have no niceness of their own.
        with contextlib.suppress(OSError):  # A sandbox may forbid it.
            os.nice(NICENESS)
        return
    more = NICENESS + _lighter(item_seconds or 0.0)
    for thread in map(int, os.listdir("/proc/self/task")):
        with contextlib.suppress(OSError):  # It has just ended, or a sandbox forbids it.
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + more
            os.setpriority(os.PRIO_PROCESS, thread, min(niceness, MOST_NICENESS))


def _lighter(item_seconds: float) -> int:
    """Steps of niceness for an item that takes less than HEAVY; none where no clock could tell."""
    if item_seconds <= 0:
        return 0
    return max(0, round(math.log(HEAVY / item_seconds, NICENESS_STEP)))


def end_with_parent(parent: int) -> None:
    """Let the system kill this process when the thread of `parent` that started it ends.

    At once where that has happened. On Linux alone.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def settle() -> None:
    """Keep garbage collection away from all that there is now, once everything is loaded.

    A full one would go through half a million objects of the libraries, while requests wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
