"""A Ray Serve deployment, with a model: `python server.py PORT`."""

import signal
import sys

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.model import Model
from benchmarks.setup import Setup


@serve.deployment
class Classifier:
    """One replica, as by default."""

    def __init__(self) -> None:
        self.model = Model.load(Setup())

    async def __call__(self, request: Request) -> dict[str, str]:
        """The class of one form."""
        form = await request.form()
        inputs = {"text": form["text"]}
        inputs |= {name: await form[name].read() for name in ("image", "audio")}
        return {"prediction": self.model.predict([inputs])[0]}


if __name__ == "__main__":
    ray.init(include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Classifier.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
