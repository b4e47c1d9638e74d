"""Real inputs through the published port, in containers that may write nowhere else than /tmp."""

import json
import socket

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.deploy.stack import PROJECT, SERVICES, Stack, run
from tests.e2e.asking import answered, everything, predict, statuses
from tests.e2e.inputs import AUDIO, IMAGE, TEXT, new_number
from tests.media import encoded

SAMPLES = {"text": TEXT, "image": IMAGE, "audio": AUDIO}
MODALITIES = ("text", "image", "audio")
TMP_BYTES = 128 * 1024 * 1024
# Reachable from nowhere, by RFC 5737: a packet leaves, or there is no way out.
ELSEWHERE = "192.0.2.1"

CONNECT = """
import socket, sys
host, port = sys.argv[1:]
try:
    socket.create_connection((host, int(port)), timeout=2).close()
    print("connected")
except OSError as error:
    print(type(error).__name__, error)
"""


def test_the_samples_are_classified_and_then_known(stack: Stack) -> None:
    """First each modality is computed; the second time all is cached, in Redis."""
    first = answered(predict(stack.url, SAMPLES))
    assert (first["prediction"], first["degraded"]) == ("joy", False)
    assert statuses(first) == dict.fromkeys(MODALITIES, "computed")
    again = answered(predict(stack.url, SAMPLES))
    assert again["probabilities"] == first["probabilities"]
    assert statuses(again) == dict.fromkeys(MODALITIES, "cached")
    assert int(stack.inside("redis", "redis-cli", "dbsize")) >= 4  # three embeddings, one result


def test_a_new_gateway_finds_what_redis_keeps(stack: Stack) -> None:
    """Its own memory is empty after a restart."""
    # Several, for on a busy machine a look-up may be given up after 20 ms.
    sent = [everything() for _ in range(8)]
    for fields in sent:
        answered(predict(stack.url, fields))
    stack.compose("restart", "gateway")
    stack.up()
    found = [statuses(answered(predict(stack.url, fields))) for fields in sent]
    assert dict.fromkeys(MODALITIES, "cached") in found


def test_a_picture_of_15_megabytes_is_classified(stack: Stack) -> None:
    """Noise, which no format makes smaller."""
    pixels = np.random.default_rng(new_number()).integers(0, 256, (2240, 2240, 3), np.uint8)
    picture = encoded(Image.fromarray(pixels), "PNG", compress_level=1)
    assert 15_000_000 < len(picture) < 20_000_000
    answer = answered(predict(stack.url, {"image": picture}, timeout=30))
    assert statuses(answer)["image"] == "computed"


@pytest.mark.parametrize("service", [one for one in SERVICES if one != "redis"])
def test_nothing_can_be_written_but_in_a_bounded_tmp(stack: Stack, service: str) -> None:
    """The root file system is read-only, and /tmp has an end."""
    write = "try: open('/app/new', 'w')\nexcept OSError as error: print(error.strerror)"
    assert stack.inside(service, "python", "-c", write).strip() == "Read-only file system"
    size = (
        "import os; s = os.statvfs('/tmp'); open('/tmp/new', 'w'); print(s.f_blocks * s.f_frsize)"
    )
    assert int(stack.inside(service, "python", "-c", size)) == TMP_BYTES


@pytest.mark.parametrize("service", SERVICES)
def test_no_process_has_privileges(stack: Stack, service: str) -> None:
    """It is not root, holds no capability and can gain none."""
    status = stack.inside(service, "cat", "/proc/1/status")
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert found["Uid"].split() == ["10001"] * 4
    assert (int(found["CapEff"], 16), int(found["CapBnd"], 16)) == (0, 0)
    assert found["NoNewPrivs"] == "1"


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_bounded(stack: Stack, service: str) -> None:
    """Its memory and processes, and it comes back by itself."""
    host = stack.inspect(service)["HostConfig"]
    assert 0 < host["Memory"] <= 2 * 1024**3
    assert 0 < host["PidsLimit"] <= 512
    assert (host["ReadonlyRootfs"], host["Privileged"]) == (True, False)
    assert host["RestartPolicy"]["Name"] == "unless-stopped"


def test_only_the_gateway_is_published_and_only_on_this_machine(stack: Stack) -> None:
    """Its port answers on 127.0.0.1 and on no other address of this machine."""
    published = {
        service: bindings
        for service in SERVICES
        if (
            bindings := list(
                filter(None, stack.inspect(service)["HostConfig"]["PortBindings"].values())
            )
        )
    }
    port = stack.url.rpartition(":")[2]
    assert published == {"gateway": [[{"HostIp": "127.0.0.1", "HostPort": port}]]}
    [network] = json.loads(run(["docker", "network", "inspect", f"{PROJECT}_edge"]))
    ours = network["IPAM"]["Config"][0]["Gateway"]
    with pytest.raises(OSError):  # noqa: PT011  # Refused, or dropped by a firewall: no answer.
        socket.create_connection((ours, int(port)), timeout=2)
    assert httpx.get(f"{stack.url}/healthz").status_code == 200


@pytest.mark.parametrize("service", ["redis", "text-encoder", "fusion"])
def test_a_stranger_reaches_no_node_and_no_redis(stack: Stack, service: str) -> None:
    """A container of another network of this machine."""
    network, port = ("cache", 6379) if service == "redis" else ("mesh", 50051)
    address = stack.address(service, network)
    stranger = ["docker", "run", "--rm", "sensemesh/gateway:test", "python", "-c", CONNECT]
    assert "connected" not in run([*stranger, address, str(port)])


def test_a_node_reaches_neither_redis_nor_the_world(stack: Stack) -> None:
    """Its network holds the gateway and the nodes, and has no way out."""
    connect = ("python", "-c", CONNECT)
    assert "gaierror" in stack.inside("text-encoder", *connect, "redis", "6379")
    address = stack.address("redis", "cache")
    assert "connected" not in stack.inside("text-encoder", *connect, address, "6379")
    assert "unreachable" in stack.inside("text-encoder", *connect, ELSEWHERE, "80")
    assert "connected" in stack.inside("text-encoder", *connect, "fusion", "50051")
