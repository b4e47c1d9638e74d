"""The mesh as `docker compose` runs it: started, asked, hurt and read by tests."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from cli.topology import ENCODERS, NODES
from tests.e2e.inputs import ROOT
from tests.e2e.member import Metrics, http

PROJECT: Final = "sensemesh-test"
FILES: Final = (
    "docker-compose.yml",
    "deploy/compose.models.yml",
    "deploy/compose.observability.yml",
    "tests/deploy/debian-prometheus.yml",
)
SERVICES: Final = ("redis", *NODES, "gateway")
PORTS: Final = {"gateway": 8000} | dict.fromkeys(NODES, 9090)
# Seconds. The longest is a first build, which downloads PyTorch.
LONGEST: Final = 1800

READ: Final = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())"


class Refused(AssertionError):
    """A command ended with an error."""


def run(argv: Sequence[str], env: dict[str, str] | None = None) -> str:
    """What a command writes to stdout; Refused, with all that it wrote, where it fails."""
    result = subprocess.run(
        argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=LONGEST, check=False
    )
    if result.returncode:
        raise Refused(f"{' '.join(argv)}: {result.stdout[-2000:]}{result.stderr[-4000:]}")
    return result.stdout


def environment(**settings: str) -> dict[str, str]:
    """The environment for compose: no settings but these, neither the user's nor those of .env."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MESH_", "COMPOSE_"))}
    return inherited | {"COMPOSE_DISABLE_ENV_FILE": "1", **settings}


class Stack:
    """One compose project of the images under test."""

    def __init__(self, port: int, prometheus_port: int, models: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.prometheus_url = f"http://127.0.0.1:{prometheus_port}"
        self._env = environment(
            COMPOSE_PROJECT_NAME=PROJECT,
            COMPOSE_FILE=":".join(FILES),
            SENSEMESH_TAG="test",
            PORT=str(port),
            PROMETHEUS_PORT=str(prometheus_port),
            MODELS=str(models),
            MESH_THREADS="1",
            # Two cores run all of it here, and one process each second only to look.
            MESH_FUSION_RESERVE="0.5",
        )

    def configure(self, **settings: str) -> None:
        """Change variables, for commands from now on."""
        self._env |= settings

    def compose(self, *words: str) -> str:
        """`docker compose` with these words."""
        return run(["docker", "compose", *words], self._env)

    def up(self, *words: str) -> None:
        """Start all that is not up, and wait until it is healthy."""
        self.compose("up", "--detach", "--wait", *(words or ("gateway", "prometheus")))

    def roll(self, service: str, **settings: str) -> None:
        """Replace a node's containers by ones with other settings, as the documentation says."""
        self.configure(**settings)
        run(["deploy/roll", service], self._env)

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers that run."""
        return self.compose("ps", "--quiet", service).split()

    def inspect(self, service: str) -> dict[str, Any]:
        """All that Docker knows of a service's only container."""
        [container] = self.containers(service)
        found: dict[str, Any] = json.loads(run(["docker", "inspect", container]))[0]
        return found

    def exit_code(self, service: str) -> int:
        """With what a service's only container, which has stopped, ended."""
        [container] = self.compose("ps", "--all", "--quiet", service).split()
        return int(run(["docker", "inspect", "--format", "{{.State.ExitCode}}", container]))

    def address(self, service: str, network: str) -> str:
        """The address of a service's only container in one of our networks."""
        networks = self.inspect(service)["NetworkSettings"]["Networks"]
        return str(networks[f"{PROJECT}_{network}"]["IPAddress"])

    def inside(self, service: str, *command: str) -> str:
        """What a command writes inside a service's container."""
        return self.compose("exec", "--no-TTY", service, *command)

    def metrics(self, service: str) -> list[Metrics]:
        """What each container of a service counts, read from inside: no port is published."""
        url = f"http://127.0.0.1:{PORTS[service]}/metrics"
        read = ("python", "-c", READ, url)
        return [Metrics(run(["docker", "exec", one, *read])) for one in self.containers(service)]

    def states(self) -> dict[str, str]:
        """What the gateway says of each encoder."""
        model = http.get(f"{self.url}/v1/model").json()
        return {modality: encoder["state"] for modality, encoder in model["encoders"].items()}

    @contextmanager
    def following(self, service: str, output: IO[str]) -> Iterator[None]:
        """Write a service's log from now on to a file, also while its container ends."""
        words = ["docker", "compose", "logs", "--follow", "--no-log-prefix", "--tail", "0", service]
        with subprocess.Popen(words, cwd=ROOT, env=self._env, stdout=output) as process:
            yield
            process.wait(timeout=30)

    def down(self) -> None:
        """End and remove all of it."""
        self.compose("down", "--volumes", "--remove-orphans")


def note(figures: list[str], line: str) -> None:
    """Keep a figure for the summary of the run, and show it at once to whoever watches."""
    figures.append(line)
    sys.stderr.write(f"{line}\n")


MODALITY_OF: Final = dict(zip(ENCODERS, ("text", "image", "audio"), strict=True))
