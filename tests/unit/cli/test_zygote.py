"""Which commands the process manager runs in forks of itself."""

import sys

import pytest

from cli.zygote import Program, load


def test_a_package_of_python_is_a_program() -> None:
    """With its settings, which may hold anything, and its arguments."""
    words = ["/usr/bin/env", "MESH_A=1", "MESH_B=x = y", sys.executable, "-m", "gateway", "-v"]
    assert Program.of(words) == Program({"MESH_A": "1", "MESH_B": "x = y"}, "gateway", ["-v"])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["env"],
        ["env", "A=1"],
        ["env", "redis-server", "--save", ""],
        ["env", sys.executable, "a.py"],
        ["env", sys.executable, "-m"],
        ["env", "another-python", "-m", "gateway"],
        [sys.executable, "-m", "gateway"],
    ],
)
def test_any_other_command_is_executed(words: list[str]) -> None:
    """Redis, say, or another interpreter."""
    assert Program.of(words) is None


def test_what_can_not_be_loaded_is_left_to_the_program() -> None:
    """Its log then says what is wrong, and all others are loaded."""
    load([Program({}, "no_such_package", []), Program({}, "tests.integration.loaded_ahead", [])])
    assert "tests.integration.loaded_ahead" in sys.modules
    assert "tests.integration.loaded_ahead.__main__" not in sys.modules
