"""The application under test: real routes over a fake mesh, asked without a socket."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from gateway.accounts import Accounts
from gateway.app import Parts, create_app
from gateway.body import Bodies
from gateway.loop import BackgroundLoop
from gateway.metrics import GatewayMetrics
from gateway.readers import Readers
from gateway.sharing import Shared
from mesh.settings import GatewaySettings
from tests.gateway_fakes import FakeClassifier
from tests.openapi import check_answer
from tests.unit.gateway.fake_redis import FakeRedis

SETTINGS = GatewaySettings(
    max_text_chars=20,
    max_image_bytes=300,
    max_audio_bytes=300,
    max_body=4000,
    max_in_flight=2,
    max_in_flight_bytes=6000,
    timeout=5,
    timeout_max=8,
)


@pytest.fixture
def metrics() -> GatewayMetrics:
    """Of one process."""
    return GatewayMetrics()


@pytest.fixture
def redis() -> FakeRedis:
    """One that answers, until it is told otherwise."""
    return FakeRedis()


class Web:
    """A client of the application; every answer that it gets is held against the OpenAPI."""

    def __init__(self, loop: BackgroundLoop, readers: Readers, classifier: Any = None) -> None:
        self.classifier = classifier or FakeClassifier()
        self.shared = Shared()
        share = self.shared.share(0)
        self.metrics = GatewayMetrics.of(share)
        self.bodies = Bodies(readers, SETTINGS.max_body)
        accounts = Accounts(self.metrics, pause=0.0)
        parts = Parts(SETTINGS, self.classifier, loop, self.bodies, self.metrics, accounts, share)
        app = create_app(parts)
        self._app = app
        self._client = app.test_client()

    def ask(self, method: str, path: str, **options: Any) -> TestResponse:
        """One request, as werkzeug's EnvironBuilder takes it."""
        response = self._client.open(path, method=method, **options)
        bare = path.partition("?")[0]
        check_answer(method, bare, response.status_code, response.headers, response.data)
        assert response.headers["X-Request-Id"] == (response.json or {}).get(
            "request_id", response.headers["X-Request-Id"]
        )
        return response

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.ask("GET", path, **options)

    def predict(self, query: str = "", **options: Any) -> TestResponse:
        """A request to classify; the options carry its body."""
        return self.ask("POST", "/predict" + query, **options)

    def say(self, text: str, query: str = "", **headers: str) -> TestResponse:
        """A request with this text alone; an underscore in a header's name stands for a dash."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.predict(query, json={"text": text}, headers=named)

    def routes(self) -> set[tuple[str, str]]:
        """Every method and path that the application has, HEAD apart."""
        return {
            (method.lower(), rule.rule)
            for rule in self._app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD"}
        }

    def counted(self, name: str, **labels: str) -> float:
        """The value of one series, 0 where there is none."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def web() -> Iterator[Web]:
    with BackgroundLoop() as loop, Readers() as readers:
        yield Web(loop, readers)


def form(**fields: Any) -> dict[str, Any]:
    # Werkzeug's own boundaries now and then have more than the 70 characters that are allowed.
    boundary, data = encode_multipart(fields, "limit")
    # And it leaves out one of the two line breaks of an empty part.
    data = data.replace(b"stream\r\n\r\n--limit", b"stream\r\n\r\n\r\n--limit")
    return {"data": data, "content_type": f"multipart/form-data; boundary={boundary}"}


def file(data: bytes, name: str = "file") -> FileStorage:
    return FileStorage(io.BytesIO(data), name)


def raw(body: bytes, content_type: str = "application/json") -> dict[str, Any]:
    return {"data": body, "content_type": content_type}
