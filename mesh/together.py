"""Coroutines that succeed together or not at all."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

R = TypeVar("R")


async def together(coroutines: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
    """Run them at once; their results in order.

    The first error is raised as it is, once the others are cancelled: what nobody will be told of
    must not go on to take places and the model's time.
    """
    waiting = list(coroutines)
    if len(waiting) == 1:
        return [await waiting[0]]  # A task of its own would only take time.
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in waiting]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
