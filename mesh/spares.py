"""When a spare worker is needed: items wait beside a batch, and could begin, time and again.

A worker takes memory from its first batch on: a model of its own, or at least all that lies between
the layers. Where the encoders of a mesh keep the cores busy together, one is enough for each; where
one modality comes, or few requests, the cores of the others are there.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from mesh.cores import LOOK_AGAIN

# How often a batch could have begun, and how many looks in vain take one of those back. On two
# cores more than every tenth look finds that where one modality comes, and fewer do where all do.
NEEDED: Final = 10
IN_VAIN: Final = 10


class Spares:
    """Lets spare workers in, one at a time. Lives on the event loop."""

    def __init__(self, held_up: Callable[[], bool], could_begin: Callable[[], bool]) -> None:
        """`held_up`: whether items wait while a batch runs; `look` must be called when they do.

        `could_begin`: whether another worker would begin with them now.
        """
        self._held_up = held_up
        self._could_begin = could_begin
        self._closing = False
        self._happened = asyncio.Event()
        self._next = asyncio.Lock()

    def look(self) -> None:
        """Something happened."""
        self._happened.set()

    def close(self) -> None:
        """Nobody is needed any more."""
        self._closing = True
        self.look()

    async def needed(self) -> bool:
        """Wait until one more worker is needed; False where none will be."""
        async with self._next:
            found = 0.0
            while found < NEEDED and not self._closing:
                if self._held_up():
                    found = found + 1 if self._could_begin() else max(0.0, found - 1 / IN_VAIN)
                    await asyncio.sleep(LOOK_AGAIN)
                else:
                    self._happened.clear()
                    await self._happened.wait()
            return not self._closing
