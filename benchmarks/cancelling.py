"""Requests that are given up while they are computed, by curl: it does not wait for the answer.

Half of the clients go away, of which the gateway does not hear; half set a deadline that passes,
for which it cancels its calls to the nodes.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.load import Target
from benchmarks.processes import BenchError

# Seconds: after the first the client goes away, the second is what it grants the gateway.
LEAVES: Final = 0.04
DEADLINE: Final = 0.08
# What is given up must not fill the gateway by itself.
AT_ONCE: Final = 8
# curl's exit status for a transfer that took longer than --max-time.
GONE: Final = "28"
EXPIRED: Final = "504"


def require_curl() -> None:
    """BenchError where curl is not installed."""
    if shutil.which("curl") is None:
        raise BenchError("curl, which sends requests and gives them up, is not installed")


def give_up(target: Target, first: int, count: int) -> int:
    """Send requests numbered from `first`; how many of them had no answer but that it is too late.

    The others were answered before they could be given up.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "curl.conf"
        config.write_text("next\n".join(_requests(target, Path(folder), first, count)))
        argv = ["curl", "--parallel", "--parallel-max", str(AT_ONCE), "--config", str(config)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return given_up(done.stdout)


def _requests(target: Target, folder: Path, first: int, count: int) -> Sequence[str]:
    return [_request(target, folder, number) for number in range(first, first + count)]


def _request(target: Target, folder: Path, number: int) -> str:
    body = folder / f"{number}.body"
    body.write_bytes(target.bodies.stamped(number, number))
    patience = f"max-time = {LEAVES}" if number % 2 else f'header = "X-Request-Timeout: {DEADLINE}"'
    return f"""\
url = "{target.url}"
header = "Content-Type: {target.bodies.content_type.replace('"', "")}"
data-binary = "@{body}"
{patience}
write-out = "%{{exitcode}} %{{http_code}}\\n"
output = "/dev/null"
silent
"""


def given_up(output: str) -> int:
    """Among lines of curl's exit status and HTTP's, those without a whole answer."""
    lines = (line.split() for line in output.splitlines())
    return sum(line[0] == GONE or line[1] == EXPIRED for line in lines if len(line) == 2)
