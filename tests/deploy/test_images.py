"""The images: what is in them, what is not, and how large they are."""

import json

import pytest

from tests.deploy.stack import Stack, note, run

MEGA = 1_000_000
GATEWAY_LIMIT = 150 * MEGA
NAMES = ("gateway", "node")
COMPILERS = ("gcc", "cc", "g++", "clang", "make", "ld")


def image(name: str) -> str:
    """The image under test."""
    return f"sensemesh/{name}:test"


def in_image(name: str, *command: str, user: str = "10001") -> str:
    """What a command writes in a container of an image, without any network."""
    alone = ["docker", "run", "--rm", "--network", "none", "--user", user]
    return run([*alone, image(name), *command]).strip()


def own_bytes(name: str) -> int:
    """The bytes of the layers that our Dockerfile adds to its base."""
    layers = ["docker", "history", "--no-trunc", "--human=false"]
    history = run([*layers, "--format", "{{.Size}} {{.CreatedBy}}", image(name)]).splitlines()
    [first] = [number for number, line in enumerate(history) if "useradd" in line]
    return sum(int(line.split()[0]) for line in history[: first + 1])


def test_the_gateways_own_layers_are_small(built: Stack, figures: list[str]) -> None:
    """At most 150 MB over the Python image that it stands on."""
    for name in NAMES:
        whole = int(run(["docker", "image", "inspect", "--format", "{{.Size}}", image(name)]))
        own = own_bytes(name) // MEGA
        note(figures, f"image {name}: {whole // MEGA} MB, {own} MB over its base")
    assert own_bytes("gateway") <= GATEWAY_LIMIT


@pytest.mark.parametrize("name", NAMES)
def test_an_image_says_what_it_is(built: Stack, name: str) -> None:
    """Its labels, a user that is not root, and a check of its health."""
    config = json.loads(run(["docker", "image", "inspect", image(name)]))[0]["Config"]
    labels = {key.removeprefix("org.opencontainers.image.") for key in config["Labels"]}
    assert labels >= {"title", "description", "version", "revision"}
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"][0] == "CMD"


@pytest.mark.parametrize("name", NAMES)
def test_an_image_holds_no_tools_for_building(built: Stack, name: str) -> None:
    """Neither a compiler nor a cache of pip's, and no pip in the environment."""
    find = "import shutil, sys; print([w for w in sys.argv[1:] if shutil.which(w)])"
    assert in_image(name, "python", "-c", find, *COMPILERS) == "[]"
    find = "import glob; print(glob.glob('/root/.cache/*') + glob.glob('/opt/venv/bin/pip*'))"
    assert in_image(name, "python", "-c", find, user="0") == "[]"


def test_the_gateway_goes_without_torch(built: Stack) -> None:
    """Nor does it hold the services' code."""
    find = "from importlib.util import find_spec as f; print(f('torch'), f('services'), f('numpy'))"
    assert in_image("gateway", "python", "-c", find) == "None None None"


def test_a_node_without_a_command_says_what_to_run(built: Stack) -> None:
    """The command picks the service."""
    with pytest.raises(AssertionError, match="text_encoder"):
        in_image("node")
