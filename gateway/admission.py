"""How many requests are taken at once, and how many bytes of their bodies. The rest is 429."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from mesh.errors import Overloaded


class Admission:
    """Counts the requests that are being answered. Safe to use from any thread."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._requests = 0
        self._bytes = 0

    @property
    def requests(self) -> int:
        """How many are admitted now."""
        return self._requests

    @property
    def bytes(self) -> int:
        """How many bytes of their bodies are reserved now."""
        return self._bytes

    @contextmanager
    def admit(self, size: int) -> Iterator["Reservation"]:
        """Hold a place for one request and `size` bytes while the block runs.

        Raises Overloaded where there is no room for both.
        """
        with self._lock:
            if self._requests >= self._max_requests:
                raise Overloaded("too many requests are being answered; try again")
            self._take(size)
            self._requests += 1
        reservation = Reservation(self, size)
        try:
            yield reservation
        finally:
            with self._lock:
                self._requests -= 1
                self._bytes -= reservation.close()

    def _take(self, size: int) -> None:
        if self._bytes + size > self._max_bytes:
            raise Overloaded("too many bytes of requests are being answered; try again")
        self._bytes += size

    def _grow(self, reservation: "Reservation", size: int) -> None:
        with self._lock:
            if reservation.closed:
                raise Overloaded("the request is over")
            self._take(size)
            reservation.size += size


class Reservation:
    """The bytes that one request holds. One whose body's size is unknown grows as it is read."""

    def __init__(self, admission: Admission, size: int) -> None:
        self._admission = admission
        self.size = size
        self.closed = False

    def grow(self, size: int) -> None:
        """Hold `size` more bytes, or raise Overloaded."""
        self._admission._grow(self, size)

    def close(self) -> int:
        """The bytes to give back; there is no growing any more."""
        self.closed = True
        return self.size
