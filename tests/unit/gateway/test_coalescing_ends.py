"""Calls of a Coalescer that end late or never, and what is left of them."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Sequence

import pytest

from gateway import coalescing
from gateway.coalescing import Coalescer, Send
from mesh.errors import InvalidInput, MeshError, Unavailable
from tests.unit.gateway.sender import Sender, fill, settle, submit


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
