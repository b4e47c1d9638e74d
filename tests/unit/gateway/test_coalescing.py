"""Coalescing: few calls under load, none of it felt when idle."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Sequence

import pytest

from gateway import coalescing
from gateway.coalescing import MAX_BYTES, MAX_ITEMS, Coalescer, Send
from mesh.errors import InvalidInput, MeshError, Unavailable


class Sender:
    """Answers each item in upper case once the gate opens; "bad" ones with an error."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.cancelled = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.called = asyncio.Event()

    async def __call__(self, items: Sequence[str]) -> list[str | MeshError]:
        self.calls.append(list(items))
        self.called.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return [InvalidInput("bad") if item == "bad" else item.upper() for item in items]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def submit(coalescer: Coalescer[str, str], items: Sequence[str], size: int = 1):
    return [asyncio.ensure_future(coalescer.submit(item, size)) for item in items]


async def fill(coalescer: Coalescer[str, str]):
    """Occupy every call, one turn of the loop after the other."""
    tasks = []
    for index in range(coalescer.calls):
        tasks += submit(coalescer, [f"first{index}"])
        await settle()
    return tasks


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


async def test_calls_that_hang_stop_holding_others_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon a slow call's place is free, though its items still wait."""
    monkeypatch.setattr(coalescing, "LEAST_HOLD", 0.01)
    sender = Sender()
    coalescer: Coalescer[str, str] = Coalescer(sender)
    tasks = await fill(coalescer)
    sender.called.clear()
    tasks += submit(coalescer, ["next"])
    await asyncio.wait_for(sender.called.wait(), 5)
    assert sender.calls[-1] == ["next"]
    sender.gate.set()
    await asyncio.gather(*tasks)


async def test_closing_in_the_turn_in_which_a_call_is_made_leaves_nobody_waiting() -> None:
    """Though the call never begins."""
    coalescer: Coalescer[str, str] = Coalescer(Sender())
    tasks = submit(coalescer, ["a"])
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(coalescer.close())
    outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert [type(outcome) for outcome in outcomes] == [Unavailable]
    await closing


@pytest.mark.parametrize("odd", ["hangs for a while", "is refused at once"])
async def test_one_odd_call_says_little_of_what_calls_take(
    monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    """Neither does the next one that hangs hold others for long, nor do usual ones stop holding."""
    monkeypatch.setattr(coalescing, "LEAST_HOLD", 0.001)
    seconds = {"usual": 0.02, "hangs for a while": 1.0, "is refused at once": 0.0}

    async def send(items: Sequence[str]) -> list[str | MeshError]:
        await asyncio.sleep(seconds[items[0]])
        return [Unavailable("no") if item == "is refused at once" else item for item in items]

    coalescer: Coalescer[str, str] = Coalescer(send)
    for _ in range(60):
        await coalescer.submit("usual", 1)
    before = coalescer.usual
    for _ in range(1 if odd == "hangs for a while" else 30):
        with contextlib.suppress(Unavailable):
            await coalescer.submit(odd, 1)
    assert before <= coalescer.usual < 1.5 * before


async def test_calls_that_take_long_hold_others_back_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that takes as long as the others did is not taken for one that hangs."""
    monkeypatch.setattr(coalescing, "LEAST_HOLD", 0.001)
    calls = []

    async def send(items: Sequence[str]) -> list[str | MeshError]:
        calls.append(list(items))
        await asyncio.sleep(0.1)
        return list(items)

    coalescer: Coalescer[str, str] = Coalescer(send)
    coalescer.usual = 0.1
    tasks = submit(coalescer, ["first"])
    await settle()
    for item in ["second", "third"]:
        tasks += submit(coalescer, [item])
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    assert calls == [["first"], ["second", "third"]]


async def test_closing_leaves_nobody_waiting() -> None:
    """Items in flight and items that wait all get Unavailable."""
    sender = Sender()
    coalescer: Coalescer[str, str] = Coalescer(sender)
    tasks = await fill(coalescer)
    tasks += submit(coalescer, ["waits"])
    await settle()
    await coalescer.close()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}


class Large:
    """An item that can be watched as it goes."""


async def _answered(items: Sequence[Large]) -> list[str | MeshError]:
    return ["answer"] * len(items)


async def _refused(items: Sequence[Large]) -> list[str | MeshError]:
    return [InvalidInput("bad")] * len(items)


async def _failed(items: Sequence[Large]) -> list[str | MeshError]:
    raise Unavailable("nobody is there")


async def _late(items: Sequence[Large]) -> list[str | MeshError]:
    await asyncio.sleep(30)
    return await _answered(items)


@pytest.mark.parametrize("send", [_answered, _refused, _failed, _late])
async def test_nothing_of_an_item_stays_once_its_caller_knows(send: Send[Large, str]) -> None:
    """Not even until Python looks for cycles, which takes hundreds of inputs of 100 KB."""
    coalescer: Coalescer[Large, str] = Coalescer(send)
    item = Large()
    sent = weakref.ref(item)
    gc.disable()
    try:
        with contextlib.suppress(MeshError, TimeoutError):
            async with asyncio.timeout(0.05):
                await coalescer.submit(item, 1)
        del item
        await settle()
        assert sent() is None
    finally:
        gc.enable()
