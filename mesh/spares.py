"""When a spare worker is needed: cores are idle time and again while items wait beside a batch.

A worker takes memory from its first batch on: a model of its own, or at least all that lies between
the layers. Where the encoders of a mesh keep the cores busy together, one each is enough; where one
modality comes, or few requests, the cores of the others are there for more.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from mesh.cores import LOOK_AGAIN

# How often a core must have been found idle, and how many looks in vain take one of those back. Of
# a hundred looks on two cores 5 to 30 find one where one modality comes, and one where all do.
NEEDED: Final = 10
IN_VAIN: Final = 30


class Spares:
    """Lets spare workers in, one at a time. Lives on the event loop."""

    def __init__(self, crowded: Callable[[], bool], held_up: Callable[[], bool]) -> None:
        """`held_up`: whether items wait while a batch runs. `look` must be called when they do."""
        self._crowded = crowded
        self._held_up = held_up
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
                    found = max(0.0, found - 1 / IN_VAIN) if self._crowded() else found + 1
                    await asyncio.sleep(LOOK_AGAIN)
                else:
                    self._happened.clear()
                    await self._happened.wait()
            return not self._closing
