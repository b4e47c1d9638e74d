"""Waiting for what another process or thread does, of which nothing tells."""

import time
from collections.abc import Callable
from typing import Final

POLL: Final = 0.05


def within(seconds: float, check: Callable[[], bool], otherwise: Callable[[], str]) -> float:
    """The seconds until `check` held; AssertionError with `otherwise` where it never did.

    Whatever does it is of another process or thread, and there is nothing else to wait on.
    """
    started = time.monotonic()
    while not check():
        assert time.monotonic() - started < seconds, otherwise()
        time.sleep(POLL)
    return time.monotonic() - started
