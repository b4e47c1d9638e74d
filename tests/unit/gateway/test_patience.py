"""Patience: an input waits for others only while its request waits for another input anyway."""

import asyncio
import time
from collections.abc import Collection

import pytest

from gateway.coalescing import Coalescer, Wait
from gateway.patience import LAST, MARGIN, MOST, SHARE, SHARE_OF_DEADLINE, Patience
from mesh.embedding import Modality
from mesh.errors import InvalidInput, MeshError, Unavailable
from tests.unit.gateway.fakes import FakeEncoder, FakeMesh
from tests.unit.gateway.sender import Sender, settle

TEXT, IMAGE, AUDIO = Modality
ALL = set(Modality)
FAR = 1e9
# Seconds that no test waits for.
LONG = 1000.0


@pytest.fixture
def patience() -> Patience:
    """A text has taken 0.02 s of late, a sound 0.2."""
    patience = Patience()
    patience.took(TEXT, 0.02)
    patience.took(AUDIO, 0.2)
    return patience


def seconds(
    patience: Patience, modality: Modality, among: Collection[Modality] = ALL, end: float = FAR
) -> float:
    """What it leaves to an input of a request that waits for those."""
    return patience.of(modality, patience.longest(among), end)


def test_the_slowest_of_a_request_waits_for_nobody(patience: Patience) -> None:
    """The others for a share of what it takes longer, once it is known what they take."""
    assert seconds(patience, AUDIO) == 0
    assert seconds(patience, TEXT) == pytest.approx(SHARE * 0.18 - MARGIN)
    assert seconds(patience, IMAGE) == 0
    patience.took(IMAGE, 0.1)
    assert seconds(patience, IMAGE) == pytest.approx(SHARE * 0.1 - MARGIN)


@pytest.mark.parametrize("among", [set(), {TEXT}, {TEXT, IMAGE}])
def test_who_waits_for_nothing_slower_has_none(patience: Patience, among: set[Modality]) -> None:
    """However long sounds take that others sent."""
    assert seconds(patience, TEXT, among) == 0


def test_a_difference_that_is_chance_is_none(patience: Patience) -> None:
    """In an idle mesh nothing waits."""
    patience.took(IMAGE, 0.02 + MARGIN / SHARE)
    assert seconds(patience, TEXT, {TEXT, IMAGE}) == pytest.approx(0)


def test_patience_has_an_end(patience: Patience) -> None:
    """Also where sounds take for ever, and sooner where there would be no time left for itself."""
    for _ in range(100):
        patience.took(AUDIO, 10)
    assert seconds(patience, TEXT) == MOST
    near = time.monotonic() + 0.12
    assert 0 < seconds(patience, TEXT, ALL, near) <= SHARE_OF_DEADLINE * 0.1
    assert seconds(patience, TEXT, ALL, time.monotonic() + 0.02) == 0


def test_what_is_usual_follows_what_happens(patience: Patience) -> None:
    """One input at a time; and a failure leaves nothing that is usual."""
    patience.took(AUDIO, 0.4)
    usual = 0.2 + LAST * 0.2
    assert seconds(patience, TEXT) == pytest.approx(SHARE * (usual - 0.02) - MARGIN)
    patience.failed(AUDIO)
    assert seconds(patience, TEXT) == 0
    patience.took(AUDIO, 0.4)
    patience.failed(TEXT)
    assert seconds(patience, TEXT) == 0


async def submitted(
    coalescer: Coalescer[str, str], item: str, seconds: float = 0.0
) -> tuple["asyncio.Task[str]", Wait]:
    wait = Wait(seconds)
    task = asyncio.ensure_future(coalescer.submit(item, 1, wait))
    await settle()
    return task, wait


@pytest.mark.parametrize("calls", [1, 2])
async def test_patient_items_wait_for_each_other(calls: int) -> None:
    """Until the first has no patience left; then all that wait go, and in one call."""
    sender = Sender()
    coalescer = Coalescer(sender)
    coalescer.calls = calls
    await submitted(coalescer, "a", 0.05)
    await submitted(coalescer, "b", LONG)
    await submitted(coalescer, "c", LONG)
    assert sender.calls == []
    await asyncio.wait_for(sender.called.wait(), 5)
    assert sender.calls == [["a", "b", "c"]]
    await coalescer.close()


@pytest.mark.parametrize("calls", [1, 2])
async def test_an_item_without_patience_takes_the_others_along(calls: int) -> None:
    """There is a call anyway."""
    sender = Sender()
    coalescer = Coalescer(sender)
    coalescer.calls = calls
    await submitted(coalescer, "a", LONG)
    await submitted(coalescer, "b")
    assert sender.calls == [["a", "b"]]
    await coalescer.close()


async def test_a_full_call_needs_no_more_patience() -> None:
    """Nobody else would go along."""
    sender = Sender()
    coalescer = Coalescer(sender)
    coalescer.max_items = 2
    await submitted(coalescer, "a", LONG)
    await submitted(coalescer, "b", LONG)
    assert sender.calls == [["a", "b"]]
    await coalescer.close()


async def test_patience_can_be_shortened_and_not_lengthened() -> None:
    """As when somebody comes who has none."""
    sender = Sender()
    coalescer = Coalescer(sender)
    _, wait = await submitted(coalescer, "a", LONG)
    wait.shorten(2 * LONG)
    await settle()
    assert sender.calls == []
    wait.shorten(0)
    await settle()
    assert sender.calls == [["a"]]
    await coalescer.close()


async def test_the_patience_of_who_left_holds_nobody() -> None:
    """It does not send the others early, and what it sent is dropped when it would have gone."""
    sender = Sender()
    coalescer = Coalescer(sender)
    task, _ = await submitted(coalescer, "a", 0.02)
    task.cancel()
    _, wait = await submitted(coalescer, "b", LONG)
    await asyncio.sleep(0.05)
    assert sender.calls == []
    assert [pending.item for pending in coalescer._waiting] == ["b"]
    wait.shorten(0)
    await settle()
    assert sender.calls == [["b"]]
    await coalescer.close()


async def test_who_leaves_in_the_turn_in_which_a_call_could_go_hurries_nobody() -> None:
    """What it sent has no patience, and is not sent."""
    sender = Sender()
    coalescer = Coalescer(sender)
    hasty = asyncio.ensure_future(coalescer.submit("a", 1))
    patient = asyncio.ensure_future(coalescer.submit("b", 1, Wait(LONG)))
    await asyncio.sleep(0)
    hasty.cancel()
    await settle()
    assert sender.calls == []
    await coalescer.close()
    await asyncio.gather(patient, return_exceptions=True)


class Slow(FakeEncoder):
    """Takes some seconds, and then fails where it was told how."""

    seconds = 0.1

    async def encode(self, *asked: object) -> object:  # type: ignore[override]
        """As FakeEncoder."""
        await asyncio.sleep(self.seconds)
        return await super().encode(*asked)  # type: ignore[arg-type]


@pytest.fixture
def mesh() -> FakeMesh:
    """One whose sounds take long."""
    mesh = FakeMesh()
    mesh.encoders[AUDIO] = Slow(AUDIO)
    return mesh


def patient(wait: Wait) -> bool:
    return wait.until > 0


async def test_a_text_is_patient_while_its_request_waits_for_a_sound(mesh: FakeMesh) -> None:
    """Not where it is alone; a sound that is refused says nothing, and one that is lost ends it."""
    faults: list[MeshError | None] = [None, None, InvalidInput("no samples"), Unavailable("gone")]
    for number, fault in enumerate([*faults, None]):
        mesh.encoders[AUDIO].error = fault
        inputs = {"text": f"{number}", "audio": f"{number}".encode()}
        if isinstance(fault, InvalidInput):
            with pytest.raises(InvalidInput):
                await mesh.classify(**inputs)
        else:
            await mesh.classify(**inputs)
    await mesh.classify(text="alone")
    waits = mesh.encoders[TEXT].waits
    assert [patient(wait) for wait in waits] == [False, True, True, True, False, False]


async def test_who_waits_for_a_sound_that_is_on_its_way_has_no_patience(mesh: FakeMesh) -> None:
    """It may be there at any moment."""
    await mesh.classify(text="a", audio=b"a")
    first = asyncio.ensure_future(mesh.classify(text="b", audio=b"b"))
    await settle()
    await mesh.classify(text="c", audio=b"b")
    await first
    assert [patient(wait) for wait in mesh.encoders[TEXT].waits] == [False, True, False]


async def test_who_joins_without_patience_ends_it(mesh: FakeMesh) -> None:
    """The same text with a sound, and then alone: the latter does not wait for any sound."""
    await mesh.classify(text="a", audio=b"a")
    text = mesh.encoders[TEXT]
    text.gate.clear()
    first = asyncio.ensure_future(mesh.classify(text="b", audio=b"b"))
    await settle()
    second = asyncio.ensure_future(mesh.classify(text="b"))
    changed = asyncio.Event()
    text.waits[-1].changed = changed.set
    await asyncio.wait_for(changed.wait(), 5)
    text.gate.set()
    await asyncio.gather(first, second)
    assert text.encoded == ["a", "b"]
