"""Asking a gateway: one request, many at once, or a steady load."""

import base64
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from tests.e2e.inputs import new_audio, new_image, new_text
from tests.e2e.member import http as client

Fields = Mapping[str, str | bytes]

PROBLEM: Final = "application/problem+json"


def everything() -> dict[str, str | bytes]:
    """All three modalities, none of which was ever sent before."""
    return {"text": new_text(), "image": new_image(), "audio": new_audio()}


def predict(
    url: str,
    fields: Fields,
    *,
    timeout: float | None = None,
    request_id: str | None = None,
    explain: bool = False,
) -> httpx.Response:
    """One request as multipart/form-data."""
    headers = {
        "X-Request-Timeout": None if timeout is None else str(timeout),
        "X-Request-Id": request_id,
    }
    return client.post(
        f"{url}/predict",
        files=[_part(name, value) for name, value in fields.items()],
        headers={name: value for name, value in headers.items() if value is not None},
        params={"explain": "true"} if explain else {},
    )


def _part(name: str, value: str | bytes) -> tuple[str, tuple[str | None, bytes]]:
    if isinstance(value, str):
        return name, (None, value.encode())
    return name, (f"{name}.bin", value)


def answered(response: httpx.Response) -> dict[str, Any]:
    """The body of a 200."""
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem of an answer with this status, which says what every problem has to."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == PROBLEM
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["X-Request-Id"]
    return problem


def statuses(answer: Mapping[str, Any]) -> dict[str, str]:
    """The status of each modality in an answer."""
    return {name: report["status"] for name, report in answer["modalities"].items()}


def at_once(asks: Sequence[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """Ask all of it at the same time."""
    start = threading.Barrier(len(asks))

    def ask(one: Callable[[], httpx.Response]) -> httpx.Response:
        start.wait()
        return one()

    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(ask, asks))


@dataclass
class Load:
    """What became of the requests of a steady load; `lost` tells why for each without an answer."""

    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def codes(self) -> Counter[int]:
        """How many answers there are of each status."""
        return Counter(status for status, _ in self.answers)

    @property
    def degraded(self) -> list[dict[str, Any]]:
        """The answers that say so."""
        return [body for status, body in self.answers if status == 200 and body["degraded"]]

    @property
    def refused(self) -> list[dict[str, Any]]:
        """The problems among the answers."""
        return [body for status, body in self.answers if status != 200]

    def require_whole(self) -> None:
        """AssertionError where any request was lost, refused, or answered in part."""
        assert (self.lost, self.refused, self.degraded) == ([], [], [])

    def wait_for(self, more: int, seconds: float = 60.0) -> None:
        """Return once there are so many more answers; so the load is really there."""
        goal, deadline = len(self.answers) + more, time.monotonic() + seconds
        while len(self.answers) < goal:
            assert time.monotonic() < deadline, f"{self.codes} after {seconds} s, {self.lost[:3]}"
            time.sleep(0.02)


Ask = Callable[[], tuple[int, dict[str, Any]]]


@contextmanager
def load(ask: Ask, clients: int, pause: float = 0.0) -> Iterator[Load]:
    """Clients that ask again `pause` seconds after each answer, for as long as the block lasts."""
    result, stop = Load(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                result.answers.append(ask())
            except (httpx.HTTPError, http.client.HTTPException, OSError) as error:
                result.lost.append(repr(error))
            stop.wait(pause)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield result
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def ask_all(url: str) -> Ask:
    """Asks one gateway for three new inputs."""

    def ask() -> tuple[int, dict[str, Any]]:
        response = predict(url, everything())
        return response.status_code, response.json()

    return ask


def ask_in_turn(urls: Sequence[str]) -> Ask:
    """Asks on a new connection each time; where a gateway refuses it, the next one.

    What fails after the connection stands is not tried again: that request is lost.
    """

    def ask() -> tuple[int, dict[str, Any]]:
        body = json.dumps(as_json(everything()))
        for url in urls:
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=70)
            try:
                connection.connect()
            except ConnectionRefusedError:
                continue
            try:
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                return response.status, json.loads(response.read())
            finally:
                connection.close()
        raise ConnectionRefusedError("every gateway refuses")

    return ask


def as_json(fields: Fields) -> dict[str, str]:
    """The fields as `POST /predict` takes them in JSON."""
    return {
        name: value if isinstance(value, str) else base64.b64encode(value).decode()
        for name, value in fields.items()
    }
