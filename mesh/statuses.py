"""The one place where what a servicer raises becomes a gRPC status.

It also binds the caller's `x-request-id` to every line that is logged while the call is served.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import grpc.aio
import structlog

from mesh.errors import MeshError

log = structlog.stdlib.get_logger(__name__)

REQUEST_ID: Final = "x-request-id"
# An id is for finding lines, so a longer one is cut rather than filling the log.
MAX_REQUEST_ID: Final = 128

Context = grpc.aio.ServicerContext[Any, Any]
Method = Callable[[Any, Any], Any]
# A string, because these are generic for type checkers only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class StatusInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each unary method; streams (health's Watch and reflection) pass as they are."""

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The method's handler, wrapped."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            _translating(handler.unary_unary),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _translating(method: Method) -> Method:
    async def serve(request: Any, context: Context) -> Any:
        with structlog.contextvars.bound_contextvars(**_request_id(context)):
            try:
                return await method(request, context)
            except grpc.aio.AbortError:
                raise
            except MeshError as error:
                await context.abort(grpc.StatusCode[error.grpc_status], error.message)
            except Exception:
                log.exception("call_failed")
                # What went wrong is for the log; its text may tell of inputs or of the machine.
                await context.abort(grpc.StatusCode.INTERNAL, "internal error")

    return serve


def _request_id(context: Context) -> dict[str, str]:
    found = dict(context.invocation_metadata() or ()).get(REQUEST_ID)
    return {"request_id": str(found)[:MAX_REQUEST_ID]} if found else {}


def time_left(context: Context, most: float) -> float:
    """Seconds until the call's own deadline, `most` where that is later or there is none."""
    left = context.time_remaining()
    return most if left is None else min(left, most)
