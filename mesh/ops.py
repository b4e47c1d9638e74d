"""A node's ops port: is it alive, is it ready, what is it, how does it fare."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Protocol

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


class Status(Protocol):
    """What the ops port tells about a node."""

    @property
    def state(self) -> str:
        """ "loading", "ready", "draining" or "failed"."""

    @property
    def info(self) -> Mapping[str, Any]:
        """What the node serves and on what; less while it loads."""


Life = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(status: Status, registry: CollectorRegistry, life: Life) -> FastAPI:
    """The app, whose lifespan is `life`. It answers as soon as `life` yields."""
    app = FastAPI(title="ops", lifespan=life, docs_url=None, redoc_url=None)
    # Pydantic's models of the answers, which nobody validates here, would take a node 5 MiB.
    get = partial(app.get, response_model=None)

    @get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @get("/readyz")
    async def readyz() -> JSONResponse:
        ready = status.state == "ready"
        return JSONResponse({"status": status.state}, status_code=200 if ready else 503)

    @get("/info")
    async def info() -> dict[str, Any]:
        return {"state": status.state, **status.info}

    # Not async, so that it runs on a thread: collecting reads files below /proc.
    @get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app
