"""Coalescing: few calls under load, none of it felt when idle."""

import asyncio

import pytest

from gateway.coalescing import MAX_BYTES, MAX_ITEMS, Coalescer
from mesh.errors import InvalidInput, Unavailable
from tests.unit.gateway.sender import Sender, fill, settle, submit


async def test_an_idle_coalescer_sends_at_once() -> None:
    """The first item leaves without waiting for others."""
    sender = Sender()
    submit(Coalescer(sender), ["a"])
    await settle()
    assert sender.calls == [["a"]]
    sender.gate.set()
    await settle()


async def test_items_of_one_turn_leave_together() -> None:
    """What is submitted in one turn of the loop is one call, in order."""
    sender = Sender()
    tasks = submit(Coalescer(sender), ["a", "b", "c"])
    sender.gate.set()
    assert await asyncio.gather(*tasks) == ["A", "B", "C"]
    assert sender.calls == [["a", "b", "c"]]


@pytest.mark.parametrize("calls", [1, 3])
async def test_under_load_items_wait_and_share_the_next_call(calls: int) -> None:
    """While as many as may are out, all that comes goes into one call after them."""
    sender = Sender()
    coalescer: Coalescer[str, str] = Coalescer(sender)
    coalescer.calls = calls
    tasks = await fill(coalescer)
    tasks += submit(coalescer, [f"late{index}" for index in range(20)])
    await settle()
    assert len(sender.calls) == calls
    sender.gate.set()
    await asyncio.gather(*tasks)
    assert len(sender.calls) == calls + 1


async def test_what_waits_is_shared_among_the_calls_that_may_leave() -> None:
    """One would else carry everything to one replica, and the others had nothing to do."""
    sender = Sender()
    coalescer: Coalescer[str, str] = Coalescer(sender)
    coalescer.calls = 3
    tasks = submit(coalescer, ["a", "b", "c", "d", "e", "f", "g"])
    await settle()
    assert sender.calls == [["a", "b", "c"], ["d", "e"], ["f", "g"]]
    sender.gate.set()
    assert await asyncio.gather(*tasks) == ["A", "B", "C", "D", "E", "F", "G"]


async def test_a_full_call_waits_for_no_other() -> None:
    """Nothing could join it."""
    sender = Sender()
    coalescer: Coalescer[str, str] = Coalescer(sender)
    coalescer.max_items = 2
    tasks = await fill(coalescer)
    tasks += submit(coalescer, ["a", "b", "c"])
    await settle()
    assert sender.calls[1:] == [["a", "b"]]
    sender.gate.set()
    await asyncio.gather(*tasks)
    assert sender.calls[1:] == [["a", "b"], ["c"]]


async def test_a_call_is_bounded_in_bytes_and_items() -> None:
    """A larger item goes alone, and no call holds more than MAX_ITEMS."""
    sender = Sender()
    sender.gate.set()
    coalescer: Coalescer[str, str] = Coalescer(sender)
    await asyncio.gather(*submit(coalescer, ["huge", "also huge"], size=MAX_BYTES + 1))
    assert sender.calls == [["huge"], ["also huge"]]
    sender.calls.clear()
    await asyncio.gather(*submit(coalescer, ["x"] * (MAX_ITEMS + 1)))
    assert [len(call) for call in sender.calls] == [MAX_ITEMS, 1]


async def test_bytes_that_have_left_fill_no_call() -> None:
    """Neither those that were sent nor those whose callers left send others beyond their turn."""
    sender = Sender()
    coalescer: Coalescer[str, str] = Coalescer(sender)
    tasks = await fill(coalescer)
    gone = submit(coalescer, ["gone"] * 2, size=MAX_BYTES // 3)
    await settle()
    for task in gone:
        task.cancel()
    await settle()
    tasks += submit(coalescer, ["sent"], size=MAX_BYTES)
    await settle()
    tasks += submit(coalescer, ["waits"], size=MAX_BYTES // 2)
    await settle()
    assert sender.calls == [["first0"], ["sent"]]
    sender.gate.set()
    await asyncio.gather(*tasks)
    assert sender.calls[2:] == [["waits"]]


async def test_one_bad_item_fails_alone() -> None:
    """The neighbours of an item with an error get their results."""
    sender = Sender()
    sender.gate.set()
    good, bad, other = submit(Coalescer(sender), ["a", "bad", "b"])
    assert await good == "A"
    assert await other == "B"
    with pytest.raises(InvalidInput):
        await bad


async def test_a_failed_call_fails_its_own_items_only() -> None:
    """All items of a call get its error, and the next call goes out as ever."""
    sender = Sender()
    sender.gate.set()
    sender.error = Unavailable("gone")
    coalescer: Coalescer[str, str] = Coalescer(sender)
    outcomes = await asyncio.gather(*submit(coalescer, ["a", "b"]), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    sender.error = None
    assert await coalescer.submit("c", 1) == "C"


async def test_a_caller_that_leaves_cancels_nobody_elses_call() -> None:
    """The call goes on while anyone waits for an item of it."""
    sender = Sender()
    gone, stays = submit(Coalescer(sender), ["a", "b"])
    await settle()
    gone.cancel()
    await settle()
    sender.gate.set()
    assert await stays == "B"
    assert sender.cancelled == 0


async def test_the_call_is_cancelled_when_all_have_left() -> None:
    """A call that nobody waits for is ended."""
    sender = Sender()
    tasks = submit(Coalescer(sender), ["a", "b"])
    await settle()
    for task in tasks:
        task.cancel()
    await settle()
    assert sender.cancelled == 1


async def test_an_item_whose_caller_left_while_it_waited_is_never_sent() -> None:
    """Cancelled items leave the queue before the wire sees them."""
    sender = Sender()
    coalescer: Coalescer[str, str] = Coalescer(sender)
    first = await fill(coalescer)
    gone, stays = submit(coalescer, ["gone", "stays"])
    await settle()
    gone.cancel()
    await settle()
    sender.gate.set()
    await asyncio.gather(*first, stays)
    assert sender.calls[-1] == ["stays"]
