"""What a process of the mesh asks of the system and of its own interpreter before it serves."""

import contextlib
import gc
import os
import sys
from typing import Final

# New objects that survive before Python looks for cycles among them, instead of its 700, most of
# which are still in use. Ours make few.
COLLECT_AFTER: Final = 20_000
# As `nice` has it by default.
NICENESS: Final = 10


def share_cores() -> None:
    """Let a thread that wakes up wait for a core instead of taking it from one that computes.

    A model that is interrupted for every message finds the processor's caches used by another: on
    two cores the mesh answers a tenth more requests this way, and an idle core is there at once as
    before. Holds for all threads, and for those that they start. Linux alone has such a policy.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # A thread has just ended, or a sandbox forbids it.
            for thread in map(int, os.listdir("/proc/self/task")):
                os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))


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
