"""What Granian's allocator is told, in processes of their own: it reads it once."""

import os
import subprocess
import sys

import pytest

NAME = "_RJEM_MALLOC_CONF"


def run(lines: str, **own: str) -> subprocess.CompletedProcess[str]:
    """What a program says, without this process's own setting."""
    env = {name: value for name, value in os.environ.items() if name != NAME} | own
    return subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, check=True, env=env
    )


def test_the_allocator_is_told_before_it_is_loaded() -> None:
    """It reads it once, and then it is too late."""
    said = run(f"import gateway, os, sys; print(os.environ['{NAME}'], 'granian' in sys.modules)")
    assert said.stdout.split() == ["narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0", "False"]


def test_what_somebody_set_before_stays() -> None:
    """The user knows better."""
    said = run(f"import gateway, os; print(os.environ['{NAME}'])", **{NAME: "narenas:7"})
    assert said.stdout.split() == ["narenas:7"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Granian has another allocator")
def test_the_allocator_reads_it() -> None:
    """It says so where it is asked to."""
    said = run("import gateway.server", **{NAME: "confirm_conf:true,narenas:1"})
    assert "narenas:1" in said.stderr
