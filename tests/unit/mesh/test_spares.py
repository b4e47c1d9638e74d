"""When spare workers are let in."""

import asyncio
from collections.abc import Iterable, Iterator

import pytest

from mesh import spares as module
from mesh.spares import IN_VAIN, NEEDED, Spares
from tests.fake_models import PATIENCE


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again without a pause."""
    monkeypatch.setattr(module, "LOOK_AGAIN", 0)


class Cores:
    """What each look finds: True for an idle core. At the end nothing is held up any more."""

    def __init__(self, idle: Iterable[bool]) -> None:
        self._looks: Iterator[bool] = iter(idle)
        self._idle = False

    def held_up(self) -> bool:
        """Whether there is one more look."""
        found = next(self._looks, None)
        self._idle = bool(found)
        return found is not None

    def could_begin(self) -> bool:
        """What the look finds."""
        return self._idle


async def is_needed(idle: Iterable[bool]) -> bool:
    """Whether after all of these looks a worker was let in."""
    cores = Cores(idle)
    spares = Spares(cores.held_up, cores.could_begin)
    waiting = asyncio.create_task(spares.needed())
    for _ in range(100 * IN_VAIN):
        await asyncio.sleep(0)
    let_in = waiting.done()
    spares.close()
    assert await waiting is let_in
    return let_in


async def test_it_is_needed_where_cores_are_idle_time_and_again() -> None:
    """Not at the first chance, which passes."""
    assert not await is_needed([True] * (NEEDED - 1))
    assert await is_needed([True] * NEEDED)


async def test_a_few_looks_in_vain_change_nothing() -> None:
    """Of ten looks two find an idle core."""
    assert await is_needed([True, *[False] * 4] * 2 * NEEDED)


async def test_it_is_not_needed_where_cores_are_seldom_idle() -> None:
    """However long that goes on: of so many looks one finds a core."""
    assert not await is_needed([True, *[False] * (IN_VAIN + 1)] * 2 * NEEDED)


async def test_they_are_let_in_one_at_a_time() -> None:
    """The next one must find idle cores beside those that came before."""
    cores = Cores([True] * (2 * NEEDED - 1))
    spares = Spares(cores.held_up, cores.could_begin)
    waiting = [asyncio.create_task(spares.needed()) for _ in range(2)]
    for _ in range(5 * NEEDED):
        await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [True, False]
    spares.close()
    assert await asyncio.gather(*waiting) == [True, False]


async def test_it_looks_only_when_something_happened() -> None:
    """While nothing is held up it sleeps."""
    looks, held_up = [], False

    def is_held_up() -> bool:
        looks.append(held_up)
        return held_up

    spares = Spares(is_held_up, lambda: True)
    waiting = asyncio.create_task(spares.needed())
    for _ in range(20):
        await asyncio.sleep(0)
    assert looks == [False]
    held_up = True
    spares.look()
    assert await asyncio.wait_for(waiting, PATIENCE)
    assert looks == [False] + [True] * NEEDED
