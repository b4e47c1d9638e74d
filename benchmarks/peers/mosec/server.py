"""A Mosec server, with a model: `python server.py --port PORT`.

By its documentation alone, one worker that takes one request at a time. With BENCH_ENGINE and
BENCH_DTYPE set it is tuned: that engine, a worker on each core, and dynamic batches, computed in
parts of BENCH_PARTS.
"""

import json
import os
import socket
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import mosec.protocol
from mosec import Server, Worker
from mosec.mixin import MsgpackMixin

from benchmarks.model import Model
from benchmarks.setup import Setup

ENGINE = os.environ.get("BENCH_ENGINE")
PARTS = json.loads(os.environ.get("BENCH_PARTS", "null"))


class WholeReads(socket.socket):
    """A socket that gives as much as it is asked for.

    Mosec 0.9.8 reads a number by one `recv`. Where that brings a part of it, as with bodies of this
    size and busy cores it does time and again, a worker ends, and what it had with it.
    """

    def recv(self, size: int, flags: int = 0) -> bytes:
        """So many bytes, or fewer at the end."""
        data = super().recv(size, flags)
        while 0 < len(data) < size and (more := super().recv(size - len(data), flags)):
            data += more
        return data


mosec.protocol.socket = SimpleNamespace(**{**vars(socket), "socket": WholeReads})


class Classifier(MsgpackMixin, Worker):
    """The class of one request at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model.load(Setup())

    def forward(self, data: dict[str, Any]) -> dict[str, str]:
        """One request, one answer."""
        return {"prediction": self.model.predict([data])[0]}


class TunedClassifier(MsgpackMixin, Worker):
    """The classes of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model.load(Setup(str(ENGINE), os.environ["BENCH_DTYPE"], threads=1), PARTS)

    def forward(self, data: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
        """A batch of requests, as many answers."""
        return [{"prediction": label} for label in self.model.predict(data)]


if __name__ == "__main__":
    server = Server()
    if ENGINE:
        batch = int(os.environ["BENCH_BATCH"])
        server.append_worker(
            TunedClassifier, num=os.cpu_count() or 1, max_batch_size=batch, max_wait_time=10
        )
    else:
        server.append_worker(Classifier)
    server.run()
