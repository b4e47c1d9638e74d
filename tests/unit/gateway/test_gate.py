"""The gate: what there is no place for is refused without Flask, and all else goes through."""

import pytest

from tests.unit.gateway.conftest import SETTINGS, Web


@pytest.fixture
def full(web: Web) -> Web:
    """An application that answers as many requests as it may."""
    web.shared.share(0).tally.add(SETTINGS.max_in_flight, 0)
    return web


def test_no_way_of_writing_its_path_goes_past_the_gate(full: Web) -> None:
    """Flask takes this for the same."""
    refused = full.predict(json={"text": "hi"}, environ_overrides={"PATH_INFO": "//predict"})
    assert refused.status_code == 429
    assert full.counted("mesh_requests_total", code="429") == 1


def test_what_there_is_no_place_for_is_read_no_further(full: Web) -> None:
    """Nothing else that is wrong with it is looked for."""
    refused = full.predict("?nonsense=1", data=b"{", content_type="text/plain")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert refused.json == {
        "status": 429,
        "title": "Too many requests",
        "detail": "too many requests are being answered; try again",
        "request_id": refused.headers["X-Request-Id"],
    }
    assert full.counted("mesh_requests_total", code="429") == 1
    full.shared.share(0).tally.add(-1, 0)
    assert full.predict("?nonsense=1", json={}).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/healthz", 200), ("GET", "/metrics", 200), ("GET", "/predict", 405)],
)
def test_all_else_needs_no_place(full: Web, method: str, path: str, status: int) -> None:
    """Whoever watches a full gateway is answered."""
    assert full.ask(method, path).status_code == status
