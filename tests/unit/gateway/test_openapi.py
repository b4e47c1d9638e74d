"""The OpenAPI document: valid, complete, and the one that is served."""

import pytest
from jsonschema import ValidationError
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.openapi import DOCUMENT, check_answer
from tests.unit.gateway.conftest import Web

STATUSES = {"200", "400", "413", "415", "422", "429", "500", "503", "504", "default"}


def test_it_is_valid_openapi() -> None:
    """As the specification's own schema says."""
    OpenAPIV31SpecValidator(dict(DOCUMENT)).validate()


def test_it_is_served(web: Web) -> None:
    """Under its own path."""
    assert web.get("/openapi.json").get_json() == DOCUMENT


def test_every_route_and_status_is_in_it(web: Web) -> None:
    """What the application has the document has, and nothing else."""
    assert web.routes() == {
        (method, path) for path, item in DOCUMENT["paths"].items() for method in item
    }
    assert set(DOCUMENT["paths"]["/predict"]["post"]["responses"]) == STATUSES


def test_answers_that_it_does_not_allow_are_found() -> None:
    """The check that every other test stands on can fail."""
    headers = {"X-Request-Id": "a", "Content-Type": "application/json"}
    check_answer("GET", "/healthz", 200, headers, b'{"status": "alive"}')
    with pytest.raises(ValidationError):
        check_answer("GET", "/healthz", 200, headers, b'{"status": "dead"}')
    with pytest.raises(AssertionError):
        check_answer("GET", "/healthz", 200, headers | {"Content-Type": "text/html"}, b"{}")
    with pytest.raises(KeyError):
        check_answer("GET", "/healthz", 200, {"Content-Type": "application/json"}, b"{}")
