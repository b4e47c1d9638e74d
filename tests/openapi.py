"""Holds answers against the OpenAPI document that the gateway itself serves."""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

from jsonschema import Draft202012Validator

DOCUMENT: Final[Mapping[str, Any]] = json.loads(
    files("gateway").joinpath("openapi.json").read_text()
)


def check_answer(
    method: str, path: str, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """AssertionError or ValidationError where the document does not allow this answer.

    `headers` are found by names in any case. A path or method that the document does not have may
    be answered as it says of every problem.
    """
    response = _response(method.lower(), path, status)
    for name, header in response["headers"].items():
        header = _resolved(header)
        if header.get("required"):
            value = headers[name]
            _validate(int(value) if _is_integer(header) else value, header["schema"])
    media_type = headers["Content-Type"].partition(";")[0]
    assert media_type in response["content"], f"{media_type} is not announced for {status}"
    is_json = media_type.endswith("json")
    _validate(
        json.loads(body) if is_json else body.decode(), response["content"][media_type]["schema"]
    )


def _response(method: str, path: str, status: int) -> Mapping[str, Any]:
    operation = DOCUMENT["paths"].get(path, {}).get(method)
    if operation is None:
        assert status in (404, 405)
        return _resolved({"$ref": "#/components/responses/Problem"})
    responses = operation["responses"]
    return _resolved(responses.get(str(status), responses["default"]))


def _resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in node:
        return node
    _, *parts = node["$ref"].split("/")
    found: Any = DOCUMENT
    for part in parts:
        found = found[part]
    return _resolved(found)


def _is_integer(header: Mapping[str, Any]) -> bool:
    return bool(_resolved(header["schema"]).get("type") == "integer")


def _validate(value: object, schema: Mapping[str, Any]) -> None:
    whole = {"allOf": [schema], "components": DOCUMENT["components"]}
    Draft202012Validator(whole).validate(value)
