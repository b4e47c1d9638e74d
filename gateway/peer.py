"""Calls to one service of the mesh, over all of its replicas, and through a gap between them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc.aio

from mesh.channels import error_of

# Seconds. A replica whose address is known is connected to again within one; a new address is
# known once a replica that drains has closed its connections, after MESH_DRAIN_DELAY.
RETURN_WAIT: Final = 2.5


class Peer:
    """One service behind one channel. Lives in the channel's loop.

    While replicas are exchanged there may be a moment in which the last old one says that it
    leaves, and the first new one is not found yet. A call that finds nobody then waits for somebody
    to come, and is made again. Once that was in vain the service counts as away, and calls fail at
    once until one succeeds.
    """

    def __init__(self, channel: grpc.aio.Channel, name: str) -> None:
        self._channel = channel
        self._name = name
        self._away = False
        self._returning: asyncio.Task[bool] | None = None

    async def call(
        self,
        method: Callable[..., Any],
        request: Any,
        deadline: float,
        request_id: str = "",
    ) -> Any:
        """One answer; `deadline` is on the clock of time.monotonic().

        Raises Unavailable, DeadlineExpired, Overloaded, VersionMismatch, or a plain MeshError.
        """
        metadata = (("x-request-id", request_id),) if request_id else ()

        async def attempt() -> Any:
            left = max(deadline - time.monotonic(), 0.0)
            return await _answer(method(request, timeout=left, metadata=metadata))

        try:
            answer = await self._through_a_gap(attempt, deadline)
        except grpc.aio.AioRpcError as error:
            raise error_of(error, self._name) from error
        self._away = False
        return answer

    async def close(self) -> None:
        """End what waits, and the connections."""
        if self._returning is not None:
            self._returning.cancel()
        await self._channel.close()

    async def _through_a_gap(self, attempt: Callable[[], Awaitable[Any]], deadline: float) -> Any:
        try:
            return await attempt()
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or not await self._returns(deadline):
                raise
        return await attempt()

    async def _returns(self, deadline: float) -> bool:
        """Whether somebody can be called in time. All who ask wait for the same."""
        if self._away:
            return False
        if self._returning is None or self._returning.done():
            self._returning = asyncio.create_task(self._wait_for_a_replica())
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(self._returning)
        except TimeoutError:
            return False

    async def _wait_for_a_replica(self) -> bool:
        try:
            async with asyncio.timeout(RETURN_WAIT):
                await self._channel.channel_ready()
        except TimeoutError:
            self._away = True
        return not self._away


async def _answer(call: Any) -> Any:
    """What a grpc.aio.UnaryUnaryCall gives; whoever leaves earlier ends it.

    Its own `cancel`, or cancelling the task that awaits it, drops what gRPC had allocated for it: a
    kilobyte a call, for ever (grpc/grpc#43360). So its own task is waited for and never cancelled,
    and what `cancel` does first is all that is done here.
    """
    try:
        await asyncio.wait([call._call_response])
    except asyncio.CancelledError:
        call._cancel("nobody waits for the answer any more")
        raise
    return await call
