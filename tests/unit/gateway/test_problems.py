"""What the log tells of a problem, beside what its caller is told."""

import pytest
import structlog

from mesh.embedding import Modality
from mesh.errors import DeadlineExpired, InvalidInput, MeshError, Overloaded, Unavailable
from tests.unit.gateway.conftest import Web


@pytest.mark.parametrize(
    "error",
    [
        MeshError("the call failed"),
        Overloaded("the queue is full"),
        Unavailable("fusion is down"),
        DeadlineExpired("no answer in time"),
    ],
)
def test_a_fault_of_the_mesh_is_one_line_of_the_log(web: Web, error: MeshError) -> None:
    """It says which and why, for whoever looks for it by the request's id."""
    web.classifier.error = error
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as logs:
        response = web.say("hi", X_Request_Id="mine")
    assert [line for line in logs if line["event"] == "mesh_error"] == [
        {
            "event": "mesh_error",
            "log_level": "warning",
            "request_id": "mine",
            "code": error.code,
            "status": response.status_code,
            "message": error.message,
        }
    ]


def test_a_fault_of_the_callers_is_no_line_of_its_own(web: Web) -> None:
    """The line of the request is enough."""
    web.classifier.error = InvalidInput("no samples", Modality.AUDIO)
    with structlog.testing.capture_logs() as logs:
        web.say("hi")
    assert [line["event"] for line in logs] == ["request"]


def test_a_fault_of_ours_tells_the_caller_nothing(web: Web) -> None:
    """The log has its message and its place, the answer neither."""
    web.classifier.error = MeshError("3 results for 4 items")
    with structlog.testing.capture_logs() as logs:
        response = web.say("hi")
    assert response.status_code == 500
    assert b"results" not in response.data
    assert [line["event"] for line in logs] == ["mesh_error", "unexpected_error", "request"]
