"""What Granian's allocator is told, in processes of their own: it reads it once."""

import os
import subprocess
import sys

import pytest

NAME = "_RJEM_MALLOC_CONF"


@pytest.mark.parametrize(("own", "told"), [({}, "narenas:1,"), ({NAME: "narenas:7"}, "narenas:7")])
def test_granians_allocator_is_told_before_it_is_loaded(own: dict[str, str], told: str) -> None:
    """What somebody set before stays."""
    lines = f"import gateway.server, os; print(os.environ['{NAME}'])"
    env = {name: value for name, value in os.environ.items() if name != NAME} | own
    done = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, check=True, env=env
    )
    assert done.stdout.startswith(told)
