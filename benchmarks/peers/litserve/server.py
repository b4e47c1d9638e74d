"""A LitAPI, with a model: `python server.py PORT`.

By its documentation alone, one worker that takes one request at a time. With BENCH_ENGINE and
BENCH_DTYPE set it is tuned: that engine, a worker on each core, and dynamic batches, computed in
parts of BENCH_PARTS.
"""

import base64
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import litserve as ls

from benchmarks.model import Model
from benchmarks.setup import Setup

ENGINE = os.environ.get("BENCH_ENGINE")
PARTS = json.loads(os.environ.get("BENCH_PARTS", "null"))


class ClassifierAPI(ls.LitAPI):
    """Decode, predict, encode; one request at a time, as by default."""

    def setup(self, device: str) -> None:
        """Load the model, once in each worker."""
        self.model = Model.load(Setup())

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """The files, which JSON holds in base64."""
        media = {name: base64.b64decode(request[name]) for name in ("image", "audio")}
        return {"text": request["text"], **media}

    def predict(self, x: dict[str, Any]) -> str:
        """The class of one request."""
        return self.model.predict([x])[0]

    def encode_response(self, output: str) -> dict[str, str]:
        """The answer's body."""
        return {"prediction": output}


class TunedClassifierAPI(ClassifierAPI):
    """The same for batches."""

    def setup(self, device: str) -> None:
        """Load the model on the engine that was named, for one core."""
        self.model = Model.load(Setup(str(ENGINE), os.environ["BENCH_DTYPE"], threads=1), PARTS)

    def predict(self, x: Sequence[dict[str, Any]]) -> list[str]:
        """The classes of a batch."""
        return self.model.predict(x)


def server() -> ls.LitServer:
    """As it is documented, or tuned."""
    if not ENGINE:
        return ls.LitServer(ClassifierAPI())
    api = TunedClassifierAPI(max_batch_size=int(os.environ["BENCH_BATCH"]), batch_timeout=0.01)
    return ls.LitServer(api, accelerator="cpu", workers_per_device=os.cpu_count() or 1)


if __name__ == "__main__":
    server().run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
