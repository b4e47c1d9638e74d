"""`sensemesh predict` over real HTTP, against a gateway that gives one answer."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.__main__ import main
from cli.machine import free_ports
from tests.integration.fake_gateway import ANSWER, Gateway, serving

PROBLEM = {
    "status": 422,
    "title": "Invalid input",
    "detail": "the [image] is truncated",
    "field": "image",
    "request_id": "r-2",
}


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway that answers with joy."""
    with serving() as server:
        yield server


def predict(*args: str, stdin: bytes | None = None) -> tuple[int, str]:
    """The exit status and everything that was printed."""
    result = CliRunner().invoke(main, ["predict", *args], input=stdin)
    return result.exit_code, result.output


def test_all_that_is_given_is_sent(gateway: Gateway, tmp_path: Path) -> None:
    """As a form of text and files, which bear their names without their folders."""
    (tmp_path / "face.jpg").write_bytes(b"JPEG")
    (tmp_path / "voice.wav").write_bytes(b"RIFF")
    media = ["--image", str(tmp_path / "face.jpg"), "--audio", str(tmp_path / "voice.wav")]
    status, output = predict("--url", gateway.url, "--text", "Grüße", *media)
    assert (status, output.splitlines()[0]) == (0, "joy  97.0%")
    assert 'name="text"\r\n\r\nGrüße\r\n'.encode() in gateway.asked
    assert b'name="image"; filename="face.jpg"' in gateway.asked
    assert b'name="audio"; filename="voice.wav"' in gateway.asked
    assert (gateway.path, gateway.deadline) == ("/predict", None)


def test_explain_and_deadline_are_asked_for(gateway: Gateway) -> None:
    """By the query and by the header."""
    predict("--url", gateway.url + "/", "--text", "hi", "--explain", "--timeout", "2.5")
    assert (gateway.path, gateway.deadline) == ("/predict?explain=true", "2.5")


def test_a_file_may_come_from_standard_input(gateway: Gateway) -> None:
    """Under the name of a dash."""
    status, _ = predict("--url", gateway.url, "--image", "-", stdin=b"JPEG")
    assert (status, b"JPEG" in gateway.asked) == (0, True)


def test_json_is_the_gateways_answer(gateway: Gateway) -> None:
    """For other programs to read."""
    status, output = predict("--url", gateway.url, "--text", "hi", "--json")
    assert (status, json.loads(output)) == (0, ANSWER)


def test_a_refusal_is_told_with_its_field(gateway: Gateway) -> None:
    """In the server's own words, with status 1."""
    gateway.status, gateway.body = 422, json.dumps(PROBLEM)
    status, output = predict("--url", gateway.url, "--text", "hi")
    assert status == 1
    assert output == "Error: Invalid input (422)\nthe [image] is truncated\nfield: image\n"


@pytest.mark.parametrize("code", [200, 404])
@pytest.mark.parametrize("body", ["<html>not found</html>", "[]", '"joy"', "{}"])
def test_what_is_no_gateway_is_told(gateway: Gateway, code: int, body: str) -> None:
    """Some other server listens there."""
    gateway.status, gateway.body = code, body
    status, output = predict("--url", gateway.url, "--text", "hi")
    assert (status, f"is no gateway: it answers {code}" in output) == (1, True)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}", "nowhere", "http://[", "ftp://127.0.0.1"]
)
def test_an_unreachable_gateway_is_told(url: str) -> None:
    """Without a traceback, naming the address."""
    [port] = free_ports(1)
    status, output = predict("--url", url.format(port=port), "--text", "hi")
    assert (status, "No gateway answers at" in output) == (1, True)


def test_a_file_that_is_not_there_is_a_mistake_of_usage(gateway: Gateway) -> None:
    """Nothing is sent."""
    status, output = predict("--url", gateway.url, "--image", "no-such.jpg")
    assert (status, "no-such.jpg" in output, gateway.asked) == (2, True, b"")
