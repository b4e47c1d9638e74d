"""The gateway's HTTP side: routes and error mapping, nothing else."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson
from flask import Flask, Response, jsonify, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.datastructures import MultiDict

from gateway import schema
from gateway.admission import Admission
from gateway.body import Bodies
from gateway.contract import Prediction, PredictRequest
from gateway.digests import digests_of
from gateway.exchanges import Exchanges, current
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


class Classifier(Protocol):
    """The mesh as the routes need it."""

    def recall(self, request: PredictRequest) -> Prediction | None:
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


class _Json(DefaultJSONProvider):
    """By orjson, in a tenth of the time: members in the order that they were given, no NaN."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        del kwargs  # What Flask passes is for another library.
        return self._written(obj).decode()

    def response(self, *args: Any, **kwargs: Any) -> Response:
        whole = self._written(self._prepare_response_obj(args, kwargs), orjson.OPT_APPEND_NEWLINE)
        answer: Response = self._app.response_class(whole, mimetype=self.mimetype)  # type: ignore[assignment, arg-type]
        return answer

    def _written(self, obj: Any, options: int = 0) -> bytes:
        return orjson.dumps(obj, self.default, options | orjson.OPT_NON_STR_KEYS)


def create_app(parts: Parts) -> Flask:
    """The WSGI application. It owns nothing that needs closing."""
    app = Flask("gateway", static_folder=None)
    app.json = _Json(app)
    app.response_class = _Answer
    app.url_map.merge_slashes = False
    answer_problems(app)
    settings, share = parts.settings, parts.share
    admission = Admission(settings.max_in_flight, settings.max_in_flight_bytes, share.tally)
    _add_predict(app, parts, admission)
    _add_probes(app, parts)
    _add_descriptions(app, parts)
    gate = Gate(app.wsgi_app, admission)
    exchanges = Exchanges(gate, parts.bodies, parts.metrics, share.draining)
    app.wsgi_app = exchanges  # type: ignore[method-assign]
    return app


def _add_predict(app: Flask, parts: Parts, admission: Admission) -> None:
    settings = parts.settings

    @app.post("/predict", provide_automatic_options=False)
    def predict() -> Response:
        exchange, headers = current(), request.headers
        body = exchange.body
        body.check_size()
        query = request.args if request.query_string else _NO_QUERY
        options = schema.read_options(query, headers.get(schema.TIMEOUT_HEADER), settings)
        read = schema.find_reader(
            headers.get("Content-Type", ""), headers.get("Content-Encoding", ""), settings
        )
        deadline = exchange.arrived + options.timeout
        with admission.admit(body.size or 0) as reservation:
            inputs = schema.check_inputs(read(body.read(deadline, reservation.grow)), settings)
            asked = PredictRequest(
                inputs, digests_of(inputs), deadline, exchange.request_id, options.explain
            )
            prediction = parts.classifier.recall(asked) or parts.loop.run(
                parts.classifier.classify(asked), deadline - time.monotonic() + SLACK
            )
        return jsonify(
            schema.answer(
                prediction,
                exchange.request_id,
                explain=options.explain,
                seconds=time.monotonic() - exchange.arrived,
            )
        )


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
        return Response(parts.metrics.text(), content_type="text/plain; version=0.0.4")


def _add_descriptions(app: Flask, parts: Parts) -> None:
    document = files("gateway").joinpath("openapi.json").read_bytes()

    @app.get("/v1/model", provide_automatic_options=False)
    def model() -> dict[str, object]:
        return parts.classifier.describe()

    @app.get("/openapi.json", provide_automatic_options=False)
    def openapi() -> Response:
        return Response(document, content_type="application/json")
