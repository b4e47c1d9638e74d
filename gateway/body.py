"""The body of a request: read within bounds of bytes and time, or discarded.

Granian's `read` waits for the client as long as the client likes, so it runs in a thread of its
own while the view waits with a time-out. Nothing interrupts that `read` but the end of the body or
of the connection, and Granian ends a connection whose body is under way only when the answer breaks
off. Until then the view must not return: Granian would wait for the reading thread with the GIL
held. So a late body is answered by all of the answer but its last byte, a line feed. A client that
comes to its end after all gets that byte; the connection of one that stalls is cut.
"""

import time
from collections.abc import Callable, Iterator
from threading import BoundedSemaphore
from typing import IO, Any, Final

from werkzeug.wsgi import get_content_length

from gateway.readers import Readers, Reading
from mesh.errors import DeadlineExpired, MalformedInput, TooLarge

# Granian's `read` returns when it has all it was asked for, so only a read that ends shows that the
# client is there. The first is small, and the next ones grow while they are quick: few for a fast
# client, and small ones for a slow client, which so never seems to be silent.
FIRST_CHUNK: Final = 4 * 1024
GROWTH: Final = 4
CHUNK: Final = 64 * 1024
QUICK_SECONDS: Final = 0.1
# A client that is silent for so long is gone; its place is for others, however much time it asked
# for. Lost packets are sent again within less, and 4 KiB in it are 0.8 kB/s.
SILENCE: Final = 5.0
# Ordinary clients read no answer before they have sent all; so much is taken from them for it.
DISCARD_FACTOR: Final = 4
DISCARD_SECONDS: Final = 30.0
# A client that is about to see why it was refused has to send a chunk in this time.
DISCARD_PAUSE: Final = 2.0
# How long the last byte is kept for a client that has its answer and still sends.
LAST_BYTE_SECONDS: Final = 0.25
# Of the spare threads, so that some are always left for health and metrics.
DISCARDING: Final = 10


class Bodies:
    """Opens bodies; holds what they share: the threads that read, and the largest size in bytes."""

    def __init__(self, readers: Readers, limit: int) -> None:
        self.readers = readers
        self.limit = limit
        self.discarding = BoundedSemaphore(DISCARDING)

    def open(self, environ: dict[str, Any]) -> "Body":
        """The body of one WSGI request. Nothing is read yet."""
        return Body(self, environ)


class Body:
    """One body; `size` is None for a chunked one, whose end alone tells."""

    def __init__(self, bodies: Bodies, environ: dict[str, Any]) -> None:
        self._bodies = bodies
        self._stream: IO[bytes] = environ["wsgi.input"]
        chunked = "HTTP_TRANSFER_ENCODING" in environ
        self.size = None if chunked else get_content_length(environ) or 0
        # Such a client sends nothing until it is told to, which the first `read` does. And an
        # answer to HEAD has no body whose last byte could be kept.
        self._left_alone = (
            environ.get("HTTP_EXPECT", "").lower() == "100-continue"
            or environ.get("REQUEST_METHOD") == "HEAD"
        )
        self._taken = 0
        self._ended = self.size == 0
        self._reading: Reading | None = None

    def check_size(self) -> None:
        """TooLarge where the client says so itself, before anything is read."""
        if self.size is not None and self.size > self._bodies.limit:
            raise self._too_large()

    def read(self, deadline: float, reserve: Callable[[int], None]) -> bytes:
        """All of it. `reserve` is called with the bytes of each chunk of an unknown whole.

        Raises TooLarge, DeadlineExpired (on the clock of time.monotonic(), or after SILENCE),
        MalformedInput where it ends early, and what `reserve` raises.
        """
        self.check_size()
        if self._ended:
            return b""
        seconds = deadline - time.monotonic()
        whole = self._in_time(lambda: self._collect(reserve), seconds, SILENCE)
        if self.size is not None and self._taken < self.size:
            raise MalformedInput(f"the body ended after {self._taken} of {self.size} bytes")
        return whole

    def discard(self) -> bool:
        """Read on to the end, within bounds, for the client to see the answer. Whether it did."""
        if self._ended or self._left_alone or self.late:
            return self._ended
        if not self._bodies.discarding.acquire(blocking=False):
            return False
        try:
            self._in_time(self._drain, DISCARD_SECONDS, DISCARD_PAUSE)
        except (DeadlineExpired, MalformedInput):
            return False
        finally:
            self._bodies.discarding.release()
        return self._ended

    @property
    def late(self) -> bool:
        """Whether nobody waits for the rest any more, though it is still being read."""
        return self._reading is not None

    def end_by(self, answer: bytes) -> Iterator[bytes]:
        """The answer to a late body, one byte longer than `answer`, or cut off."""
        yield answer
        if self._reading and self._reading.wait(LAST_BYTE_SECONDS):
            yield b"\n"

    def _in_time(self, work: Callable[[], bytes], seconds: float, pause: float) -> bytes:
        """What `work` reads, in `seconds` at most and with no longer `pause` between chunks."""
        reading = self._bodies.readers.start(work)
        deadline = time.monotonic() + seconds
        taken = self._taken
        while not reading.wait(min(deadline - time.monotonic(), pause)):
            if time.monotonic() >= deadline:
                self._reading = reading
                raise DeadlineExpired("the body did not arrive in time")
            if self._taken == taken:
                self._reading = reading
                raise DeadlineExpired(f"nothing of the body came for {pause:g} seconds")
            taken = self._taken
        return reading.result()

    def _collect(self, reserve: Callable[[int], None]) -> bytes:
        chunks = []
        for chunk in self._chunks():
            if self._taken > self._bodies.limit:
                raise self._too_large()
            if self.size is None:
                reserve(len(chunk))
            chunks.append(chunk)
        return b"".join(chunks)

    def _drain(self) -> bytes:
        for _ in self._chunks():
            if self._taken > DISCARD_FACTOR * self._bodies.limit:
                break
        return b""

    def _chunks(self) -> Iterator[bytes]:
        """What the client sends, to its end or until nobody waits for it."""
        wanted = FIRST_CHUNK
        while not self.late and not self._ended:
            left = wanted if self.size is None else min(wanted, self.size - self._taken)
            started = time.monotonic()
            chunk = self._stream.read(left)
            quick = time.monotonic() - started < QUICK_SECONDS
            wanted = min(GROWTH * wanted, CHUNK) if quick else FIRST_CHUNK
            self._taken += len(chunk)
            self._ended = not chunk or self._taken == self.size
            if chunk:
                yield chunk

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body may have {self._bodies.limit} bytes")
