"""Waiting for what another process does, of which nothing tells."""

import time
from collections.abc import Callable
from typing import Final

POLL: Final = 0.05


def within(seconds: float, check: Callable[[], bool], otherwise: Callable[[], str]) -> float:
    """The seconds until `check` held; AssertionError with `otherwise` where it never did.

    Another process is waited for: there is nothing to wait on but what it answers.
    """
    started = time.monotonic()
    while not check():
        assert time.monotonic() - started < seconds, otherwise()
        time.sleep(POLL)
    return time.monotonic() - started
