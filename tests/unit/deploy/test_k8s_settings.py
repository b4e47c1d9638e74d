"""What containers are told: settings that there are, with values that can be used."""

import base64
import re

import pytest
import yaml

from mesh.settings import GatewaySettings, NodeSettings, ProcessSettings, load
from tests.unit.deploy.manifests import (
    NODES,
    ROOT,
    SERVICES,
    Manifests,
    pod_of,
    rendered,
    server_of,
)

COMPOSE = ROOT / "docker-compose.yml"
with_compose = pytest.mark.skipif(not COMPOSE.exists(), reason="there is no docker-compose.yml")


def kind_of(service: str) -> type[ProcessSettings]:
    """The settings that a service's process reads."""
    return GatewaySettings if service == "gateway" else NodeSettings


def known_to(service: str) -> set[str]:
    """The names of all of its settings."""
    return {f"MESH_{name.upper()}" for name in kind_of(service).model_fields}


@pytest.mark.parametrize("service", SERVICES)
def test_only_settings_that_there_are_are_set(service: str, overlay: Manifests) -> None:
    """A wrong name would be ignored without a word."""
    assert set(overlay.environment(service)) <= known_to(service)


@pytest.mark.parametrize("service", SERVICES)
def test_their_values_can_be_used(
    service: str, overlay: Manifests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process would end at its start."""
    for name, value in overlay.environment(service).items():
        if value:
            monkeypatch.setenv(name, value)
    assert load(kind_of(service)).host == "0.0.0.0"


@pytest.mark.parametrize("service", SERVICES)
def test_what_runs_is_there(service: str, overlay: Manifests) -> None:
    """The command is `python -m` and a package of ours, the service's own."""
    python, flag, module = server_of(overlay.one("Deployment", service))["args"]
    assert (python, flag) == ("python", "-m")
    assert module.rpartition(".")[2] == service.replace("-", "_")
    assert (ROOT / module.replace(".", "/") / "__main__.py").is_file()


def test_redis_is_named_by_a_secret(overlay: Manifests) -> None:
    """Its URL may hold a password."""
    [entry] = server_of(overlay.one("Deployment", "gateway"))["env"]
    assert entry["name"] == "MESH_REDIS_URL"
    assert entry["valueFrom"]["secretKeyRef"] == {"name": "redis", "key": "MESH_REDIS_URL"}


def test_the_local_redis_has_its_secret() -> None:
    """In the other overlays it is the user's to make."""
    [url] = rendered("local").one("Secret", "redis")["data"].values()
    assert base64.b64decode(url) == b"redis://redis:6379/0"
    assert not any(rendered(overlay).names("Secret") for overlay in ("cpu", "gpu"))


@pytest.mark.parametrize("service", NODES)
def test_a_node_has_the_threads_that_it_may_use(service: str, overlay: Manifests) -> None:
    """Its limit of cores, which is a whole number of them."""
    server = server_of(overlay.one("Deployment", service))
    [entry] = server["env"]
    assert entry["name"] == "MESH_THREADS"
    assert entry["valueFrom"]["resourceFieldRef"]["resource"] == "limits.cpu"
    assert int(server["resources"]["limits"]["cpu"]) >= 1


@pytest.mark.parametrize("service", NODES)
def test_engines_keep_what_they_made_in_a_volume_of_its_own(
    service: str, overlay: Manifests
) -> None:
    """In /tmp, which is small and shared, it could end the pod."""
    folder = overlay.environment(service)["MESH_ENGINE_CACHE"]
    deployment = overlay.one("Deployment", service)
    mounts = {one["mountPath"]: one["name"] for one in server_of(deployment)["volumeMounts"]}
    sizes = {one["name"]: one["emptyDir"]["sizeLimit"] for one in pod_of(deployment)["volumes"]}
    assert sizes[mounts[folder]] == "1Gi"
    assert mounts[folder] != mounts["/tmp"]


def composed(service: str) -> dict[str, str | None]:
    """The settings that docker-compose.yml gives to a service; None for what it hands on if set."""
    services = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    environment = services[service]["environment"].items()
    return {name: value for name, value in environment if name.startswith("MESH_")}


@with_compose
@pytest.mark.parametrize("service", SERVICES)
def test_compose_and_kubernetes_set_the_same(service: str) -> None:
    """All that is set here can be set there, and what there has a value has one here."""
    compose, kubernetes = composed(service), rendered("cpu").environment(service)
    assert set(kubernetes) <= set(compose) <= known_to(service)
    assert {name for name, value in compose.items() if value is not None} <= set(kubernetes)


@with_compose
@pytest.mark.parametrize("service", SERVICES)
def test_addresses_and_ports_are_the_same_in_both(service: str) -> None:
    """So that one page explains both."""
    compose, kubernetes = composed(service), rendered("local").environment(service)
    same = [name for name in kubernetes if name.endswith(("_TARGETS", "_PORT", "_HOST", "_CACHE"))]
    assert [kubernetes[name] for name in same] == [compose[name] for name in same]


@with_compose
def test_both_run_the_same_images(overlay: Manifests) -> None:
    """By the same tag; those for GPUs are another build of one of them."""
    compose = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    images = {re.sub(r"\$\{\w+:-(.*?)\}", r"\1", one["image"]) for one in compose.values()}
    used = {server_of(one)["image"].replace("-cuda", "") for one in overlay.workloads().values()}
    assert used <= images
