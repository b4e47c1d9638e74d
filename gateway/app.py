"""The gateway's HTTP side: routes and error mapping, nothing else."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from flask import Flask, Response, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.datastructures import MultiDict

from gateway import schema
from gateway.accounts import Accounts
from gateway.admission import Admission
from gateway.body import Bodies
from gateway.contract import Known, Prediction, PredictRequest
from gateway.digests import digests_of
from gateway.exchanges import Exchange, Exchanges, exchange_of
from gateway.gate import Gate
from gateway.loop import BackgroundLoop
from gateway.metrics import GatewayMetrics
from gateway.problems import answer_problems, problem
from gateway.sharing import Share
from mesh.settings import GatewaySettings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# The mesh keeps deadlines itself; this much later the loop must be stuck.
SLACK: Final = 0.1
# Made once: nearly no request has any.
_NO_QUERY: Final[MultiDict[str, str]] = MultiDict()

# The beginning of an answer, and the milliseconds of its stages.
_Written = tuple[bytes, Mapping[str, float]]


class Classifier(Protocol):
    """The mesh as the routes need it."""

    def recall(self, request: PredictRequest) -> Known | None:
        """The answer that is known already; None where it isn't. Callable from any thread."""

    async def classify(self, request: PredictRequest) -> Prediction:
        """The class of one request; raises what is in mesh.errors. Runs in the loop."""

    def ready(self) -> bool:
        """Whether fusion and an encoder that it uses answer. Callable from any thread."""

    def describe(self) -> dict[str, object]:
        """Models, encoders and their state. Callable from any thread."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes stand on."""

    settings: GatewaySettings
    classifier: Classifier
    loop: BackgroundLoop
    bodies: Bodies
    metrics: GatewayMetrics
    accounts: Accounts
    share: Share


class _Answer(Response):
    """An answer that leaves in one piece where it is whole: a list says so to the server."""

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        pieces, status, headers = self.get_wsgi_response(environ)
        start_response(status, headers)
        if not self.is_sequence:
            return pieces
        whole = list(pieces)
        self.close()
        return whole


def create_app(parts: Parts) -> Flask:
    """The WSGI application. It owns nothing that needs closing."""
    app = Flask("gateway", static_folder=None)
    json = cast(DefaultJSONProvider, app.json)
    json.sort_keys, json.ensure_ascii = False, False
    app.response_class = _Answer
    app.url_map.merge_slashes = False
    answer_problems(app)
    settings, share = parts.settings, parts.share
    admission = Admission(settings.max_in_flight, settings.max_in_flight_bytes, share.tally)
    _add_predict(app, parts, admission)
    _add_probes(app, parts)
    _add_descriptions(app, parts)
    gate = Gate(app.wsgi_app, admission)
    exchanges = Exchanges(gate, parts.bodies, parts.accounts, share.draining)
    app.wsgi_app = exchanges  # type: ignore[method-assign]
    return app


def _add_predict(app: Flask, parts: Parts, admission: Admission) -> None:
    settings = parts.settings

    @app.post("/predict", provide_automatic_options=False)
    def predict() -> Response:
        environ = request.environ
        exchange = exchange_of(environ)
        body = exchange.body
        body.check_size()
        query = request.args if environ.get("QUERY_STRING") else _NO_QUERY
        options = schema.read_options(query, environ.get(schema.TIMEOUT_VARIABLE), settings)
        read = schema.find_reader(
            environ.get("CONTENT_TYPE", ""), environ.get("HTTP_CONTENT_ENCODING", ""), settings
        )
        deadline = exchange.arrived + options.timeout
        with admission.admit(body.size or 0) as reservation:
            inputs = schema.check_inputs(read(body.read(deadline, reservation.grow)), settings)
            asked = PredictRequest(
                inputs, digests_of(inputs), deadline, exchange.request_id, options.explain
            )
            beginning, timing_ms = _recalled(parts, asked, exchange) or _classified(parts, asked)
        whole = schema.signed(
            beginning, timing_ms, exchange.request_id, time.monotonic() - exchange.arrived
        )
        return _Answer(whole, content_type="application/json")


def _recalled(parts: Parts, asked: PredictRequest, exchange: Exchange) -> _Written | None:
    """The answer where it is known already."""
    started = time.monotonic()
    known = parts.classifier.recall(asked)
    if known is None:
        return None
    if known.written is None:
        known.written = schema.written(known.prediction, explain=False)
    exchange.recalled = time.monotonic() - started
    return known.written, {"cache": round(1000 * exchange.recalled, 3)}


def _classified(parts: Parts, asked: PredictRequest) -> _Written:
    """The answer of the mesh."""
    prediction = parts.loop.run(
        parts.classifier.classify(asked), asked.deadline - time.monotonic() + SLACK
    )
    return schema.written(prediction, explain=asked.explain), prediction.timing_ms


def _add_probes(app: Flask, parts: Parts) -> None:
    @app.get("/healthz", provide_automatic_options=False)
    def healthz() -> dict[str, Any]:
        return {"status": "alive"}

    @app.get("/readyz", provide_automatic_options=False)
    def readyz() -> dict[str, Any] | Response:
        if parts.share.draining():
            return problem(503, "Not ready", "the gateway is about to stop")
        if not parts.classifier.ready():
            return problem(503, "Not ready", "fusion or every encoder does not answer")
        return {"status": "ready"}

    @app.get("/metrics", provide_automatic_options=False)
    def metrics() -> Response:
        parts.accounts.settle()
        return Response(parts.metrics.text(), content_type="text/plain; version=0.0.4")


def _add_descriptions(app: Flask, parts: Parts) -> None:
    document = files("gateway").joinpath("openapi.json").read_bytes()

    @app.get("/v1/model", provide_automatic_options=False)
    def model() -> dict[str, object]:
        return parts.classifier.describe()

    @app.get("/openapi.json", provide_automatic_options=False)
    def openapi() -> Response:
        return Response(document, content_type="application/json")
