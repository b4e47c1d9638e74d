"""How many requests are taken at once, and how many bytes of their bodies. The rest is 429."""

from threading import Lock
from types import TracebackType
from typing import Self

from gateway.sharing import Tally
from mesh.errors import Overloaded


class Admission:
    """Counts the requests that are being answered. Safe to use from any thread.

    The limits are for all processes of the gateway together. Where several admit in the same
    moment, there may be one too many for each of the others.
    """

    def __init__(self, max_requests: int, max_bytes: int, tally: Tally) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._tally = tally

    def require_place(self) -> None:
        """Overloaded where there is room for no request at all."""
        if self._tally.requests >= self._max_requests:
            raise Overloaded("too many requests are being answered; try again")

    def admit(self, size: int) -> "Reservation":
        """A place for one request and `size` bytes, held until the reservation is left.

        Raises Overloaded where there is no room for both.
        """
        with self._lock:
            self.require_place()
            self._take(1, size)
        return Reservation(self, size)

    def _take(self, requests: int, size: int) -> None:
        if self._tally.bytes + size > self._max_bytes:
            raise Overloaded("too many bytes of requests are being answered; try again")
        self._tally.add(requests, size)

    def _give_back(self, reservation: "Reservation") -> None:
        with self._lock:
            reservation.closed = True  # There is no growing any more.
            self._tally.add(-1, -reservation.size)

    def _grow(self, reservation: "Reservation", size: int) -> None:
        with self._lock:
            if reservation.closed:
                raise Overloaded("the request is over")
            self._take(0, size)
            reservation.size += size


class Reservation:
    """One request's place, and the bytes that it holds, until its `with` block is left.

    One whose body's size is unknown grows as that is read.
    """

    def __init__(self, admission: Admission, size: int) -> None:
        self._admission = admission
        self.size = size
        self.closed = False

    def grow(self, size: int) -> None:
        """Hold `size` more bytes, or raise Overloaded."""
        self._admission._grow(self, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._admission._give_back(self)
