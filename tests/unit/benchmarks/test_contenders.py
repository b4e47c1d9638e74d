"""Contenders do the same work, by the engines and settings that a section names."""

from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from benchmarks.bodies import MULTIPART, write_bodies
from benchmarks.contenders import documented, named, require_answer, require_same, tuned
from benchmarks.processes import BenchError, Command
from benchmarks.setup import Setup, setups

LABELS = ["anger", "joy", "neutral"]


@pytest.mark.parametrize("answer", [b'{"prediction": "joy"}', b"joy", b'"joy"'])
def test_an_answer_s_class_is_found_in_whatever_form(answer: bytes) -> None:
    """Servers wrap it in their own ways."""
    assert named(answer, LABELS) == "joy"


def test_the_first_label_of_an_answer_is_its_class() -> None:
    """The mesh also lists the others."""
    assert named(b'{"prediction": "neutral", "probabilities": {"anger": 0}}', LABELS) == "neutral"


def test_an_answer_without_a_class_is_none() -> None:
    """It may be a page that says what went wrong."""
    with pytest.raises(BenchError, match="names no class: <html>"):
        named(b"<html>", LABELS)


def test_one_class_may_differ_by_rounding_and_no_more() -> None:
    """At the border of two classes."""
    classes = ["joy"] * 8
    require_same([*classes[:7], "anger"], classes)
    with pytest.raises(BenchError, match="the mesh"):
        require_same([*classes[:6], "anger", "anger"], classes)


def test_every_peer_is_measured_under_a_name_of_its_own(tmp_path: Path) -> None:
    """Those that are tuned beside the same as documented."""
    names = [
        peer.name for peer in (*documented(tmp_path), *tuned(tmp_path, "torch", "int8", 4, {}))
    ]
    assert len(set(names)) == len(names) == 7


def test_engines_are_tried_in_every_dtype_that_a_node_can_be_told() -> None:
    """But what says "the best of them" isn't one of them."""
    assert Setup("openvino", "bfloat16") in setups()
    assert not {"auto"} & {word for setup in setups() for word in (setup.engine, setup.dtype)}


def test_the_users_settings_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """But those that a section names, and the rest of the environment."""
    monkeypatch.setenv("MESH_TIMEOUT", "1")
    monkeypatch.setenv("LANG", "C")
    environment = Command([], Path("log"), {"MESH_THREADS": "1"}).environment
    assert "MESH_TIMEOUT" not in environment
    assert (environment["MESH_THREADS"], environment["LANG"]) == ("1", "C")


@pytest.mark.parametrize("status", [200, 503])
def test_a_server_that_answers_no_more_is_not_weighed(tmp_path: Path, status: int) -> None:
    """Whether it says so itself, or is gone."""
    bodies = write_bodies(tmp_path, "text", MULTIPART)

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.handle_request)
        thread.start()
        with nullcontext() if status == 200 else pytest.raises(BenchError, match="no more"):
            require_answer(url, bodies)
        thread.join()
    with pytest.raises(BenchError, match="no more"):
        require_answer(url, bodies)
