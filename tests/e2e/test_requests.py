"""Requests that are refused for their form, whatever they carry: most rows of the status table."""

from typing import Any

import httpx
import pytest

from tests.e2e.asking import answered, everything, predict, refused, statuses
from tests.e2e.inputs import new_text
from tests.e2e.member import http
from tests.e2e.mesh import Mesh

MULTIPART = "multipart/form-data; boundary=edge"
Sent = dict[str, Any]


def _json(text: str | bytes, **headers: str) -> Sent:
    return {"content": text, "headers": {"Content-Type": "application/json", **headers}}


def _multipart(*lines: str, kind: str = MULTIPART) -> Sent:
    return {"content": "\r\n".join(lines).encode(), "headers": {"Content-Type": kind}}


def _part(name: str, value: str) -> tuple[str, ...]:
    return ("--edge", f'Content-Disposition: form-data; name="{name}"', "", value)


def _with_timeout(value: str) -> Sent:
    return _json('{"text": "hello"}', **{"X-Request-Timeout": value})


BAD_REQUESTS: dict[str, tuple[int, str | None, Sent]] = {
    "no body": (400, None, _json("")),
    "json cut short": (400, "text", _json('{"text": "hel')),
    "json with a tail": (400, None, _json('{"text": "hello"} and more')),
    "json that is a list": (400, None, _json('["hello"]')),
    "json nested 100,000 deep": (400, None, _json("[" * 100_000)),
    "json nested 100,000 deep in a field": (400, "text", _json('{"text": ' + '{"a":' * 100_000)),
    "json that is no UTF-8": (400, "text", _json('{"text": "h\u00e9llo"}'.encode("latin-1"))),
    "lone surrogate": (400, "text", _json('{"text": "\\ud800"}')),
    "lone surrogate in base64": (400, "image", _json('{"image": "\\udfff"}')),
    "number as text": (400, "text", _json('{"text": 5}')),
    "null as text": (400, "text", _json('{"text": null}')),
    "object as image": (400, "image", _json('{"image": {"data": "aaaa"}}')),
    "wrong base64": (400, "image", _json('{"image": "not*base64"}')),
    "base64 cut short": (400, "audio", _json('{"audio": "UklGR"}')),
    "data uri without base64": (400, "image", _json('{"image": "data:image/png,abc"}')),
    "unknown field": (400, "smell", _json('{"text": "hello", "smell": "roses"}')),
    "repeated field": (400, "text", _json('{"text": "hello", "text": "hello"}')),
    "nothing": (400, None, _json("{}")),
    "white space alone": (400, None, _json('{"text": " \\n "}')),
    "multipart cut short": (400, None, _multipart(*_part("text", "hello"))),
    "multipart without a part": (400, None, _multipart("hello")),
    "multipart without a boundary": (
        400,
        None,
        _multipart(*_part("text", "hello"), "--edge--", kind="multipart/form-data"),
    ),
    "multipart with a repeated field": (
        400,
        "text",
        _multipart(*_part("text", "hello"), *_part("text", "hello"), "--edge--", ""),
    ),
    "multipart with an unknown field": (
        400,
        "smell",
        _multipart(*_part("smell", "roses"), "--edge--", ""),
    ),
    "time-out of nan": (400, "X-Request-Timeout", _with_timeout("nan")),
    "time-out of inf": (400, "X-Request-Timeout", _with_timeout("inf")),
    "time-out of zero": (400, "X-Request-Timeout", _with_timeout("0")),
    "negative time-out": (400, "X-Request-Timeout", _with_timeout("-1")),
    "time-out in words": (400, "X-Request-Timeout", _with_timeout("soon")),
    "time-out over the longest": (400, "X-Request-Timeout", _with_timeout("61")),
    "no content type": (415, "Content-Type", {"content": b"hello"}),
    "unknown content type": (
        415,
        "Content-Type",
        {"content": b"<text/>", "headers": {"Content-Type": "application/xml"}},
    ),
    "compressed body": (415, "Content-Encoding", _json("{}", **{"Content-Encoding": "gzip"})),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_a_bad_request_is_refused(mesh: Mesh, case: str) -> None:
    """The problem has the status of its row, and names the field where there is one."""
    status, name, sent = BAD_REQUESTS[case]
    problem = refused(http.post(f"{mesh.url}/predict", **sent), status)
    assert problem.get("field") == name


def test_an_unknown_parameter_is_refused(mesh: Mesh) -> None:
    """?explian=true is answered with 400 rather than without an explanation."""
    url = f"{mesh.url}/predict?explian=true"
    assert refused(http.post(url, json={"text": "hello"}), 400)["field"] == "explian"


def test_an_unfilled_file_input_is_absent(mesh: Mesh) -> None:
    """What browsers send for a file input that nobody filled is as if it was not sent."""
    empty = ("--edge", 'Content-Disposition: form-data; name="image"; filename=""', "", "")
    sent = _multipart(*_part("text", new_text()), *empty, "--edge--", "")
    response: httpx.Response = http.post(f"{mesh.url}/predict", **sent)
    assert statuses(answered(response))["image"] == "absent"


def test_a_request_past_its_deadline_is_a_504(mesh: Mesh) -> None:
    """A time-out that no model can keep is answered as one, not degraded nor hung."""
    refused(predict(mesh.url, everything(), timeout=0.0001), 504)
