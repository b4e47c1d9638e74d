"""One request's id through the logs of every process, and nothing of what the user sent."""

from typing import Any

from cli.topology import NODES
from tests.e2e.asking import answered, everything, predict, refused
from tests.e2e.inputs import new_number
from tests.e2e.mesh import Mesh
from tests.waiting import within

PROCESSES = ("gateway", *NODES)


def lines_about(mesh: Mesh, name: str, request_id: str) -> list[dict[str, Any]]:
    """The lines of a process's log that name a request, once there are any."""

    def found() -> list[dict[str, Any]]:
        return [
            line
            for line in mesh[name].lines()
            if line.get("request_id") == request_id or request_id in line.get("request_ids", ())
        ]

    within(5, lambda: bool(found()), lambda: f"{name} wrote nothing about {request_id}")
    return found()


def test_a_request_is_found_by_its_id_in_every_log(mesh: Mesh) -> None:
    """Each process writes JSON lines with the service's name and the id of the request."""
    request_id = f"trace-{new_number()}-of-this-test"
    answered(predict(mesh.url, everything(), request_id=request_id))
    for name in PROCESSES:
        for line in lines_about(mesh, name, request_id):
            assert line["service"] == name
            assert {"event", "level", "logger", "timestamp"} <= set(line)


def test_a_line_for_every_request_tells_its_status(mesh: Mesh) -> None:
    """The gateway's line has method, path and status, also where it refused."""
    request_id = f"refused-{new_number()}-of-this-test"
    refused(predict(mesh.url, {"image": b"no picture"}, request_id=request_id), 415)
    [line] = [x for x in lines_about(mesh, "gateway", request_id) if x["event"] == "request"]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/predict", 415)


def test_logs_hold_nothing_of_what_was_sent(mesh: Mesh) -> None:
    """A secret in the text, in a broken file or in a field's name is in no log."""
    secret = f"secret{new_number()}secret"
    answered(predict(mesh.url, {"text": f"My word is {secret}."}))
    refused(predict(mesh.url, {"image": f"GIF89a{secret}".encode()}), 422)
    refused(predict(mesh.url, {"audio": f"RIFF....WAVE{secret}".encode()}), 422)
    refused(predict(mesh.url, {secret: "roses"}), 400)
    refused(predict(mesh.url, {"text": secret * 1000}), 413)
    request_id = f"last-{new_number()}-of-this-test"
    answered(predict(mesh.url, everything(), request_id=request_id))
    for name in PROCESSES:
        assert lines_about(mesh, name, request_id)
        assert secret not in mesh[name].log.read_text()


def test_every_line_of_every_log_is_json(mesh: Mesh) -> None:
    """Also what libraries write: from the start of a process each line is an object."""
    answered(predict(mesh.url, everything()))
    for name in PROCESSES:
        lines = list(mesh[name].lines())
        assert lines
        assert all(isinstance(line, dict) for line in lines)
