"""What the gateway's processes have in common, in memory that they inherit from the main one."""

import ctypes
from collections.abc import MutableSequence
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray, RawValue
from pathlib import Path

# A list, or memory that processes share.
Counts = MutableSequence[int] | ctypes.Array[ctypes.c_longlong]


class Tally:
    """What is admitted: by this process, and in all. Each process writes its own numbers only."""

    def __init__(self, counts: Counts | None = None, index: int = 0) -> None:
        """`counts` holds requests and bytes of each process in turn; by default of one alone."""
        self._counts = [0, 0] if counts is None else counts
        self._own = 2 * index
        self._is_alone = len(self._counts) == 2

    @property
    def requests(self) -> int:
        """How many are admitted now."""
        return self._counts[0] if self._is_alone else sum(self._counts[::2])

    @property
    def bytes(self) -> int:
        """How many bytes of their bodies are reserved now."""
        return self._counts[1] if self._is_alone else sum(self._counts[1::2])

    def add(self, requests: int, size: int) -> None:
        """Count what this process admits, or with negative numbers what it is done with."""
        self._counts[self._own] += requests
        self._counts[self._own + 1] += size

    def clear(self) -> None:
        """Forget what a process that died had admitted in this one's place."""
        self._counts[self._own] = self._counts[self._own + 1] = 0


@dataclass(frozen=True, slots=True)
class Share:
    """One process's part, and its place among the others."""

    shared: "Shared"
    index: int
    tally: Tally

    @property
    def metrics(self) -> Path | None:
        """The folder in which all processes count; None where there is only one."""
        return self.shared.metrics

    def draining(self) -> bool:
        """Whether the gateway is about to stop."""
        return self.shared.draining


class Shared:
    """Made by the main process before it starts the others."""

    def __init__(self, processes: int = 1, metrics: Path | None = None) -> None:
        self.metrics = metrics
        # One byte, and numbers that one process writes: neither needs a lock.
        self._draining = RawValue(ctypes.c_bool, False)
        self._counts = RawArray(ctypes.c_longlong, 2 * processes)

    @property
    def draining(self) -> bool:
        """Whether the gateway is about to stop."""
        return bool(self._draining.value)

    def drain(self) -> None:
        """Let every process know that the gateway is about to stop."""
        self._draining.value = True

    def share(self, index: int) -> Share:
        """The part of the process in that place."""
        return Share(self, index, Tally(self._counts, index))
