"""The command line itself, before it does anything."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from cli.__main__ import main


def run(*args: str) -> tuple[int, str]:
    """The exit status and everything that was printed."""
    result = CliRunner().invoke(main, args)
    return result.exit_code, result.output


def test_help_names_every_subcommand() -> None:
    """With what each is for."""
    status, output = run("--help")
    assert status == 0
    assert "predict   Classify" in output
    assert "up        Start Redis" in output


def test_the_version_is_the_packages() -> None:
    """As installed."""
    status, output = run("--version")
    assert (status, output.split()[-1].count(".")) == (0, 2)


def test_an_unknown_subcommand_is_refused() -> None:
    """As a mistake of usage."""
    status, output = run("down")
    assert (status, "No such command 'down'" in output) == (2, True)


def test_predict_wants_an_input() -> None:
    """At least one of the three."""
    status, output = run("predict")
    assert (status, "at least one of --text, --image and --audio" in output) == (2, True)


def test_predict_refuses_text_that_is_not_utf8() -> None:
    """Bytes that the shell passed and that no text is."""
    status, output = run("predict", "--text", "caf\udce9")
    assert (status, "--text is not UTF-8" in output) == (2, True)


@pytest.mark.parametrize("timeout", ["0", "-1", "soon"])
def test_predict_refuses_a_senseless_timeout(timeout: str) -> None:
    """Before it asks anybody."""
    assert run("predict", "--text", "hi", "--timeout", timeout)[0] == 2


def test_up_wants_a_model() -> None:
    """A folder that isn't there is named before anything is started."""
    status, output = run("up", "--port", "0", "--model", "no/such/model")
    assert (status, "no/such/model" in output) == (1, True)


def test_one_subcommand_does_not_load_anothers_libraries() -> None:
    """Asking a mesh needs no process manager, and neither needs torch."""
    code = (
        "import sys, cli.predict; sys.exit(any(m in sys.modules for m in ('supervisor', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_stays_to_watch_a_mesh_imports_little() -> None:
    """It holds what it imports for as long as the mesh serves."""
    program = "import sys, cli.__main__, cli.up, cli.running; print(*sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    heavy = {"httpx", "redis", "pydantic", "structlog", "numpy", "grpc", "flask"}
    assert not heavy & set(said.stdout.split())
