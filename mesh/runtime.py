"""What a process of the mesh asks of the system and of its own interpreter before it serves."""

import contextlib
import ctypes
import gc
import os
import platform
import struct
import sys
from typing import Final

# New objects that survive before Python looks for cycles among them, instead of its 700, most of
# which are still in use. Ours make few.
COLLECT_AFTER: Final = 20_000
# As `nice` has it by default.
NICENESS: Final = 10
# Seconds for which a thread may go on once it has a core that others want, too. The kernel's own 1
# to 3 ms cut a batch of the model into pieces, each of which begins with caches that others used.
# Those who answer HTTP do little at a time, and come next the sooner the less they ask for.
LONG_SLICE: Final = 0.01
SHORT_SLICE: Final = 0.001

# What sched_setattr(2) takes, from <linux/sched/types.h>: size, policy, flags, nice, priority,
# runtime (for us, from Linux 6.12 on, the slice in nanoseconds), deadline, period, and two clamps.
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQII")
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274, "riscv64": 274}


def share_cores(slice: float) -> None:
    """Let a thread that wakes up wait for a core instead of taking it from one that computes.

    A model that is interrupted for every message finds the processor's caches used by another: on
    two cores the mesh answers a fifth more requests by this and by slices, and an idle core is
    there at once as before. Holds for all threads, and for those that they start; how nice they are
    is left. Linux alone has such a policy, and slices from 6.12 on.
    """
    call = _SCHED_SETATTR.get(platform.machine())
    if sys.platform == "linux" and call is not None:
        libc, nanoseconds = ctypes.CDLL(None), int(1e9 * slice)
        niceness = os.getpriority(os.PRIO_PROCESS, 0)
        asked = (os.SCHED_BATCH, 0, niceness, 0, nanoseconds, 0, 0, 0, 0)
        attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, *asked)
        for thread in map(int, os.listdir("/proc/self/task")):
            # It fails where the thread has just ended, or a sandbox forbids it: then all is as was.
            libc.syscall(call, thread, attributes, 0)


def yield_cores() -> None:
    """Let other programs, and the gateway, have a core first; what is left is this process's.

    The gateway does little for each request, and refuses some at once: that must not wait for
    models, which keep all cores busy under load. By it the slowest take a third of the time.
    """
    with contextlib.suppress(OSError):  # A sandbox may forbid it.
        os.nice(NICENESS)


def settle() -> None:
    """Keep garbage collection away from all that there is now, once everything is loaded.

    A full one would go through half a million objects of the libraries, while requests wait.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
