"""The gateway's own server with nothing behind it: `python -m benchmarks.constant_gateway`.

Reads and parses each body as the gateway does and gives a constant answer, as long as a real one:
at /predict by a view of Flask, as the gateway's is, and at /bare without Flask and without what
guards the gateway against slow clients. Where all is cached, the mesh can't be faster than these.
MESH_HTTP_PORT says where.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from flask import Flask, Response, request

from gateway import schema
from gateway.body import Bodies
from gateway.contract import ModalityReport, Prediction
from gateway.listener import listen
from gateway.readers import Readers
from gateway.server import Server
from gateway.sharing import Share, Shared
from mesh.embedding import Modality
from mesh.settings import GatewaySettings, load
from mesh.telemetry import configure_logging

LABELS: Final = ("anger", "disgust", "fear", "joy", "neutral", "sadness")

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def _answer() -> bytes:
    reports = {modality: ModalityReport("cached") for modality in Modality}
    prediction = Prediction("constant", "sha256:" + 64 * "0", dict.fromkeys(LABELS, 1 / 6), reports)
    beginning = schema.written(prediction, explain=False)
    return schema.signed(beginning, {}, 32 * "0", seconds=0.001)


@contextmanager
def wired(settings: GatewaySettings, share: Share) -> Iterator[Flask]:
    """A Flask application whose answers are constant."""
    app = Flask("constant", static_folder=None)
    with Readers() as readers:
        _add_view(app, Bodies(readers, settings.max_body), settings)
        app.wsgi_app = bare(app.wsgi_app, settings)  # type: ignore[method-assign, assignment]
        yield app


def _add_view(app: Flask, bodies: Bodies, settings: GatewaySettings) -> None:
    answer = _answer()

    @app.post("/predict")
    def predict() -> Response:
        body = bodies.open(request.environ)
        read = schema.find_reader(request.headers.get("Content-Type", ""), "", settings)
        whole = body.read(time.monotonic() + settings.timeout, lambda _: None)
        schema.check_inputs(read(whole), settings)
        return Response(answer, content_type="application/json")


def bare(flask: Wsgi, settings: GatewaySettings) -> Wsgi:
    """An application that answers /bare itself, and leaves the other paths to `flask`."""
    answer = _answer()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]

    def respond(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/bare":
            return flask(environ, start_response)
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        read = schema.find_reader(environ["CONTENT_TYPE"], "", settings)
        schema.check_inputs(read(body), settings)
        start_response("200 OK", headers)
        return [answer]

    return respond


def main() -> None:
    """Serve until a signal comes."""
    settings = load(GatewaySettings)
    configure_logging("constant", settings.log_level)
    Server(settings, listen(settings.host, settings.http_port), Shared(), wired).run()


if __name__ == "__main__":
    main()
