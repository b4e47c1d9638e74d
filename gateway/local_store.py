"""Bytes by key in this process's own memory, as many as it may hold."""

import threading
from collections import OrderedDict


class LocalStore:
    """The least recently used entries go first once `capacity` bytes are held.

    Safe to use from any thread.
    """

    def __init__(self, capacity: int) -> None:
        self._lock = threading.Lock()
        self._capacity = capacity
        self._held = 0
        self._entries: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """The value, which then counts as used; None where there is none."""
        with self._lock:
            value = self._entries.get(key)
            if value is not None:
                self._entries.move_to_end(key)
        return value

    def put(self, key: str, value: bytes) -> None:
        """Keep one entry, at the cost of those used least recently; none that fills it alone."""
        with self._lock:
            self._discard(key)
            if _weight(key, value) > self._capacity:
                return
            self._held += _weight(key, value)
            self._entries[key] = value
            while self._held > self._capacity:
                self._discard(next(iter(self._entries)))

    def _discard(self, key: str) -> None:
        value = self._entries.pop(key, None)
        if value is not None:
            self._held -= _weight(key, value)


def _weight(key: str, value: bytes) -> int:
    # The two objects' own overhead and the dictionary's entry come to about this.
    return len(key) + len(value) + 256
