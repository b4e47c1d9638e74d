"""Bodies: read whole and in time, or discarded within bounds. The streams stand for Granian's."""

import gc
import io
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway import body as module
from gateway.body import Bodies, Body
from gateway.readers import Readers
from mesh.errors import DeadlineExpired, MalformedInput, Overloaded, TooLarge
from tests.gateway_fakes import Stalled

LIMIT = 300_000


class Slow(io.BytesIO):
    """Takes some seconds for each read."""

    def __init__(self, data: bytes, seconds: float) -> None:
        super().__init__(data)
        self.seconds = seconds

    def read(self, size: int | None = -1) -> bytes:
        time.sleep(self.seconds)
        return super().read(size)


@pytest.fixture
def bodies() -> Iterator[Bodies]:
    with Readers() as readers:
        yield Bodies(readers, LIMIT)


def open_body(bodies: Bodies, stream: Any, size: int | None = None, **headers: str) -> Body:
    """A body that says its size, or is chunked."""
    environ: dict[str, Any] = {"wsgi.input": stream, **headers}
    if size is None:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    else:
        environ["CONTENT_LENGTH"] = str(size)
    return bodies.open(environ)


def read(body: Body, seconds: float = 10) -> bytes:
    return body.read(time.monotonic() + seconds, lambda size: None)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [1, module.CHUNK, module.CHUNK + 1, LIMIT])
def test_a_body_is_read_whole(bodies: Bodies, size: int, chunked: bool) -> None:
    """To the last byte, at the limit too, with or without a length."""
    data = bytes(i % 251 for i in range(size))
    assert read(open_body(bodies, io.BytesIO(data), None if chunked else size)) == data


def test_no_body_is_an_empty_one(bodies: Bodies) -> None:
    """Neither a length nor chunks: there is nothing to read or to discard."""
    body = bodies.open({"wsgi.input": Stalled()})
    assert (body.size, read(body), body.discard()) == (0, b"", True)


def test_nothing_is_read_beyond_the_length(bodies: Bodies) -> None:
    """What follows is the next request's."""
    stream = io.BytesIO(b"firstsecond")
    assert read(open_body(bodies, stream, 5)) == b"first"
    assert stream.read() == b"second"


def test_a_body_over_the_limit_is_refused_unread(bodies: Bodies) -> None:
    """Its length is enough to know."""
    stream = io.BytesIO(bytes(LIMIT + 1))
    with pytest.raises(TooLarge):
        read(open_body(bodies, stream, LIMIT + 1))
    assert stream.tell() == 0


def test_a_chunked_body_over_the_limit_is_refused_on_the_way(bodies: Bodies) -> None:
    """One byte too many is enough, and no more than a chunk beyond it is read."""
    stream = io.BytesIO(bytes(2 * LIMIT))
    with pytest.raises(TooLarge):
        read(open_body(bodies, stream))
    assert stream.tell() <= LIMIT + module.CHUNK


class Kept(bytes):
    """A chunk of which it can be seen whether it is still held."""

    held = 0

    def __new__(cls, data: bytes) -> "Kept":
        cls.held += 1
        return super().__new__(cls, data)

    def __del__(self) -> None:
        type(self).held -= 1


def test_a_refused_body_is_let_go_of_at_once(bodies: Bodies) -> None:
    """Not by garbage collection, before which many more may come."""

    class Source(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return Kept(super().read(size))

    gc.disable()
    try:
        with pytest.raises(TooLarge):
            read(open_body(bodies, Source(bytes(2 * LIMIT))))
        assert Kept.held == 0
    finally:
        gc.enable()


def test_a_chunked_body_reserves_as_it_comes(bodies: Bodies) -> None:
    """Each chunk's bytes; a refusal there ends the reading."""
    sizes: list[int] = []
    body = open_body(bodies, io.BytesIO(bytes(LIMIT)))
    body.read(time.monotonic() + 10, sizes.append)
    assert sum(sizes) == LIMIT
    assert max(sizes) == module.CHUNK

    def refuse(size: int) -> None:
        raise Overloaded("full")

    with pytest.raises(Overloaded):
        open_body(bodies, io.BytesIO(b"hi")).read(time.monotonic() + 10, refuse)


def test_a_body_that_ends_early_is_malformed(bodies: Bodies) -> None:
    """Short of its length."""
    with pytest.raises(MalformedInput, match="2 of 5"):
        read(open_body(bodies, io.BytesIO(b"hi"), 5))


def test_a_body_that_stalls_is_late_and_its_answer_lacks_a_byte(bodies: Bodies) -> None:
    """It is cut off, so that the connection ends, unless the body comes to its end after all."""
    streams = [Stalled(b"hi"), Stalled(b"hi")]
    late = [open_body(bodies, stream, 5) for stream in streams]
    for body in late:
        with pytest.raises(DeadlineExpired):
            read(body, 0.02)
        assert body.late
        assert not body.discard()
    streams[0].ended.set()
    assert list(late[0].end_by(b"late")) == [b"late", b"\n"]
    assert list(late[1].end_by(b"late")) == [b"late"]
    streams[1].ended.set()


def test_a_silent_body_is_late_long_before_its_deadline(
    bodies: Bodies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it never began or fell silent, with or without a length; a slow one has its time."""
    monkeypatch.setattr(module, "SILENCE", 0.2)
    for stream in (Stalled(), Stalled(bytes(module.FIRST_CHUNK))):
        for size in (None, LIMIT):
            body = open_body(bodies, stream, size)
            with pytest.raises(DeadlineExpired, match="nothing of the body came"):
                read(body, 15)
            assert body.late
        stream.ended.set()
    slow = Slow(bytes(5 * module.FIRST_CHUNK), 0.1)
    assert len(read(open_body(bodies, slow))) == 5 * module.FIRST_CHUNK


class Metered(io.BytesIO):
    """Notes how much each read asks for, and is as fast or slow as its bytes are many."""

    def __init__(self, data: bytes, bytes_a_second: float) -> None:
        super().__init__(data)
        self.rate = bytes_a_second
        self.asked: list[int] = []

    def read(self, size: int | None = -1) -> bytes:
        self.asked.append(size or 0)
        data = super().read(size)
        time.sleep(len(data) / self.rate)
        return data


def test_a_slow_body_is_read_in_small_chunks(bodies: Bodies) -> None:
    """So that it is never taken for a silent one, and a fast one in large ones."""
    slow, fast = Metered(bytes(20_000), 30_000), Metered(bytes(LIMIT), 1e9)
    for stream in (slow, fast):
        read(open_body(bodies, stream))
    assert set(slow.asked) == {module.FIRST_CHUNK}
    assert fast.asked[:4] == [4096, 16384, 65536, 65536]


def test_a_refused_body_is_discarded_to_its_end(bodies: Bodies) -> None:
    """An ordinary client reads no answer before it has sent all."""
    stream = io.BytesIO(bytes(3 * LIMIT))
    assert open_body(bodies, stream, 3 * LIMIT).discard()
    assert stream.tell() == 3 * LIMIT


def test_discarding_has_an_end(bodies: Bodies) -> None:
    """A few times the limit is enough for anybody."""
    stream = io.BytesIO(bytes(10 * LIMIT))
    assert not open_body(bodies, stream, 10 * LIMIT).discard()
    assert stream.tell() < 5 * LIMIT


def test_a_client_that_waits_to_be_asked_is_not_asked(bodies: Bodies) -> None:
    """Reading would make it send what nobody wants."""
    stream = io.BytesIO(b"hello")
    assert not open_body(bodies, stream, 5, HTTP_EXPECT="100-Continue").discard()
    assert stream.tell() == 0


def test_discarding_goes_on_while_something_comes(
    bodies: Bodies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow client is waited for as long as it sends, a silent one is not."""
    monkeypatch.setattr(module, "DISCARD_PAUSE", 0.2)
    size = 4 * module.FIRST_CHUNK
    assert open_body(bodies, Slow(bytes(size), 0.1), size).discard()
    silent = Stalled(bytes(module.CHUNK))
    body = open_body(bodies, silent, LIMIT)
    assert not body.discard()
    assert body.late
    silent.ended.set()


def test_few_discard_at_a_time(bodies: Bodies, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those beyond are answered at once, so that threads are left for others."""
    monkeypatch.setattr(module, "DISCARD_PAUSE", 0.2)
    streams = [Stalled() for _ in range(module.DISCARDING)]
    waiting = [threading.Thread(target=open_body(bodies, stream, 5).discard) for stream in streams]
    for thread in waiting:
        thread.start()
    stream = io.BytesIO(b"hello")
    assert not open_body(bodies, stream, 5).discard()
    assert stream.tell() == 0
    for thread in waiting:
        thread.join()
    assert open_body(bodies, stream, 5).discard()
    for stalled in streams:
        stalled.ended.set()
