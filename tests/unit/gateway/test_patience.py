"""Patience: an input waits for others only while its request waits for another input anyway."""

import asyncio
import time
from collections.abc import Callable

import pytest

from gateway.coalescing import Coalescer
from gateway.patience import LAST, MARGIN, MOST, SHARE, SHARE_OF_DEADLINE, Patience
from mesh.embedding import Modality
from mesh.errors import InvalidInput, MeshError, Unavailable
from tests.unit.gateway.fakes import FakeMesh
from tests.unit.gateway.test_coalescing import Sender, settle

TEXT, IMAGE, AUDIO = Modality
ALL = set(Modality)
FAR = 1e9


@pytest.fixture
def patience() -> Patience:
    """A text has taken 0.02 s of late, a sound 0.2."""
    patience = Patience()
    patience.took(TEXT, 0.02)
    patience.took(AUDIO, 0.2)
    return patience


def test_the_slowest_of_a_request_waits_for_nobody(patience: Patience) -> None:
    """The others for a share of what it takes longer."""
    assert patience.of(AUDIO, ALL, FAR) == 0
    assert patience.of(TEXT, ALL, FAR) == pytest.approx(SHARE * 0.18 - MARGIN)
    assert patience.of(IMAGE, ALL, FAR) == pytest.approx(SHARE * 0.2 - MARGIN)


@pytest.mark.parametrize("among", [{TEXT}, {TEXT, IMAGE}])
def test_who_waits_for_nothing_slower_has_none(patience: Patience, among: set[Modality]) -> None:
    """However long sounds take that others sent."""
    assert patience.of(TEXT, among, FAR) == 0


def test_a_difference_that_is_chance_is_none(patience: Patience) -> None:
    """In an idle mesh nothing waits."""
    patience.took(IMAGE, 0.02 + MARGIN / SHARE)
    assert patience.of(TEXT, {TEXT, IMAGE}, FAR) == pytest.approx(0)


def test_patience_has_an_end(patience: Patience) -> None:
    """Also where sounds take for ever, and sooner where the deadline is near or past."""
    for _ in range(100):
        patience.took(AUDIO, 10)
    assert patience.of(TEXT, ALL, FAR) == MOST
    near = time.monotonic() + 0.1
    assert patience.of(TEXT, ALL, near) == pytest.approx(SHARE_OF_DEADLINE * 0.1, abs=0.01)
    assert patience.of(TEXT, ALL, time.monotonic() - 1) == 0


def test_what_is_usual_follows_what_happens(patience: Patience) -> None:
    """One input at a time; and a failure leaves nothing that is usual."""
    patience.took(AUDIO, 0.4)
    usual = 0.2 + LAST * 0.2
    assert patience.of(TEXT, ALL, FAR) == pytest.approx(SHARE * (usual - 0.02) - MARGIN)
    patience.failed(AUDIO)
    assert patience.of(TEXT, ALL, FAR) == 0


async def submitted(
    coalescer: Coalescer[str, str], item: str, patience: float
) -> "asyncio.Task[str]":
    task = asyncio.ensure_future(coalescer.submit(item, 1, patience))
    await settle()
    return task


async def test_patient_items_wait_for_each_other() -> None:
    """Until the first has none left; then all that wait go."""
    sender = Sender()
    coalescer = Coalescer(sender)
    await submitted(coalescer, "a", 0.05)
    await submitted(coalescer, "b", 10)
    assert sender.calls == []
    started = time.monotonic()
    await asyncio.wait_for(sender.called.wait(), 5)
    assert time.monotonic() - started > 0.03
    assert sender.calls == [["a", "b"]]
    await coalescer.close()


async def test_an_item_without_patience_takes_the_others_along() -> None:
    """There is a call anyway."""
    sender = Sender()
    coalescer = Coalescer(sender)
    await submitted(coalescer, "a", 10)
    await submitted(coalescer, "b", 0)
    assert sender.calls == [["a", "b"]]
    await coalescer.close()


async def test_a_full_call_needs_no_more_patience() -> None:
    """Nobody else would go along."""
    sender = Sender()
    coalescer = Coalescer(sender)
    coalescer.max_items = 2
    await submitted(coalescer, "a", 10)
    await submitted(coalescer, "b", 10)
    assert sender.calls == [["a", "b"]]
    await coalescer.close()


async def test_the_patience_of_who_left_holds_nobody() -> None:
    """It neither sends the others early, nor stays itself."""
    sender = Sender()
    coalescer = Coalescer(sender)
    task = await submitted(coalescer, "a", 0.02)
    await submitted(coalescer, "b", 0.1)
    task.cancel()
    await asyncio.sleep(0.04)
    assert sender.calls == []
    await asyncio.wait_for(sender.called.wait(), 5)
    assert sender.calls == [["b"]]
    await coalescer.close()


def slow(mesh: FakeMesh, modality: Modality, seconds: float) -> Callable[[MeshError | None], None]:
    """Let an encoder take so long, and fail where it is told how."""
    encoder = mesh.encoders[modality]
    encode, error = encoder.encode, [None]

    async def encode_slowly(*args: object) -> object:
        await asyncio.sleep(seconds)
        if error[0]:
            raise error[0]
        return await encode(*args)  # type: ignore[arg-type]

    encoder.encode = encode_slowly  # type: ignore[method-assign, assignment]
    return lambda reason: error.__setitem__(0, reason)  # type: ignore[call-overload, no-any-return]


async def test_a_text_is_patient_while_its_request_waits_for_a_sound() -> None:
    """Not where it is alone; a sound that is refused says nothing, and one that is lost ends it."""
    mesh = FakeMesh()
    fail = slow(mesh, AUDIO, 0.1)
    patiences = mesh.encoders[TEXT].patiences
    await mesh.classify(text="a", audio=b"a")
    await mesh.classify(text="b", audio=b"b")
    await mesh.classify(text="c")
    fail(InvalidInput("no samples"))
    with pytest.raises(InvalidInput):
        await mesh.classify(text="d", audio=b"d")
    fail(Unavailable("gone"))
    await mesh.classify(text="e", audio=b"e")
    await mesh.classify(text="f", audio=b"f")
    first, second, alone, refused, lost, after = patiences
    assert (first, alone, after) == (0, 0, 0)
    for patience in (second, refused, lost):
        assert 0.02 < patience < 0.1
