"""The gateway's HTTP side: routes and error mapping, nothing else."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, Protocol

from flask import Flask, Response, g, jsonify, request
from flask.json.provider import DefaultJSONProvider

from gateway import schema
from gateway.admission import Admission
from gateway.body import Bodies
from gateway.contract import Prediction, PredictRequest
from gateway.exchanges import follow_exchanges
from gateway.loop import BackgroundLoop
from gateway.metrics import GatewayMetrics
from gateway.problems import answer_problems, problem
from mesh.settings import GatewaySettings

# The mesh keeps deadlines itself; this much later the loop must be stuck.
SLACK: Final = 0.1


class Classifier(Protocol):
    """The mesh as the routes need it."""

    async def classify(self, request: PredictRequest) -> Prediction:
        """The class of one request; raises what is in mesh.errors. Runs in the loop."""

    def ready(self) -> bool:
        """Whether fusion and an encoder that it uses answer. Callable from any thread."""

    def describe(self) -> dict[str, object]:
        """Models, encoders and their state. Callable from any thread."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes stand on. `draining` says that the process will soon end."""

    settings: GatewaySettings
    classifier: Classifier
    loop: BackgroundLoop
    bodies: Bodies
    metrics: GatewayMetrics
    draining: Callable[[], bool] = lambda: False


class _Json(DefaultJSONProvider):
    """Members in the order that they were given, and no NaN, which is no JSON."""

    sort_keys = False

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return super().dumps(obj, allow_nan=False, **kwargs)


def create_app(parts: Parts) -> Flask:
    """The WSGI application. It owns nothing that needs closing."""
    app = Flask("gateway", static_folder=None)
    app.json = _Json(app)
    app.url_map.merge_slashes = False
    follow_exchanges(app, parts.bodies, parts.metrics, parts.draining)
    answer_problems(app)
    _add_predict(app, parts)
    _add_probes(app, parts)
    _add_descriptions(app, parts)
    return app


def _add_predict(app: Flask, parts: Parts) -> None:
    settings = parts.settings
    admission = Admission(settings.max_in_flight, settings.max_in_flight_bytes)
    parts.metrics.in_flight.set_function(lambda: admission.requests)
    parts.metrics.in_flight_bytes.set_function(lambda: admission.bytes)

    @app.post("/predict", provide_automatic_options=False)
    def predict() -> Response:
        g.body.check_size()
        options = schema.read_options(
            request.args, request.headers.get(schema.TIMEOUT_HEADER), settings
        )
        read = schema.find_reader(
            request.headers.get("Content-Type", ""),
            request.headers.get("Content-Encoding", ""),
            settings,
        )
        deadline = g.arrived + options.timeout
        with admission.admit(g.body.size or 0) as reservation:
            inputs = schema.check_inputs(read(g.body.read(deadline, reservation.grow)), settings)
            prediction = parts.loop.run(
                parts.classifier.classify(
                    PredictRequest(inputs, deadline, g.request_id, options.explain)
                ),
                deadline - time.monotonic() + SLACK,
            )
        return jsonify(
            schema.answer(
                prediction,
                g.request_id,
                explain=options.explain,
                seconds=time.monotonic() - g.arrived,
            )
        )


def _add_probes(app: Flask, parts: Parts) -> None:
    @app.get("/healthz", provide_automatic_options=False)
    def healthz() -> dict[str, Any]:
        return {"status": "alive"}

    @app.get("/readyz", provide_automatic_options=False)
    def readyz() -> dict[str, Any] | Response:
        if parts.draining():
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
