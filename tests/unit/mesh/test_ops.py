"""The ops port's answers, without a socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter

from mesh.ops import create_app


@dataclass
class Status:
    """A node of any state."""

    state: str = "loading"
    info: dict[str, Any] = field(default_factory=lambda: {"dim": 3})


@asynccontextmanager
async def life(app: FastAPI) -> AsyncIterator[None]:
    """No life."""
    yield


async def get(path: str, state: str = "ready") -> httpx.Response:
    """What the ops port of a node in this state answers."""
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc()
    transport = httpx.ASGITransport(create_app(Status(state), registry, life))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        return await client.get(path)


@pytest.mark.parametrize(
    ("state", "code"), [("loading", 503), ("ready", 200), ("draining", 503), ("failed", 503)]
)
async def test_only_a_node_that_serves_is_ready(state: str, code: int) -> None:
    """And the answer says what it does instead."""
    answer = await get("/readyz", state)
    assert (answer.status_code, answer.json()) == (code, {"status": state})


@pytest.mark.parametrize("state", ["loading", "ready", "draining"])
async def test_a_node_is_alive_in_every_state(state: str) -> None:
    """A model that loads for minutes is no reason to restart it."""
    assert (await get("/healthz", state)).status_code == 200


async def test_info_is_the_state_and_what_the_node_tells() -> None:
    """As JSON."""
    assert (await get("/info")).json() == {"state": "ready", "dim": 3}


async def test_metrics_are_those_of_the_nodes_registry() -> None:
    """In Prometheus's text format."""
    answer = await get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "things_total 1.0" in answer.text


async def test_an_unknown_path_is_not_found() -> None:
    """There is nothing else."""
    assert (await get("/secrets")).status_code == 404


def test_no_answer_has_a_model() -> None:
    """Nobody validates them here, and each would take a node its share of memory."""
    routes = create_app(Status(), CollectorRegistry(), life).routes
    assert [getattr(route, "response_field", None) for route in routes] == [None] * len(routes)
