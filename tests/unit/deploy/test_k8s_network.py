"""Who reaches whom in a cluster: the calls that the code makes, and nothing else."""

from urllib.parse import urlsplit

import pytest

from mesh.settings import GatewaySettings
from tests.unit.deploy.manifests import NODES, Manifests, labels_of, rendered, selects
from tests.unit.deploy.reach import Pod, edges, enters, leaves, pods

PROMETHEUS = Pod({"app.kubernetes.io/name": "prometheus"}, namespace="monitoring")
STRANGER = Pod({"app.kubernetes.io/name": "stranger"}, namespace="default")
PORTS = (8000, 50051, 9090, 6379)
DNS = Pod({"k8s-app": "kube-dns"}, namespace="kube-system")


def calls(manifests: Manifests) -> set[tuple[str, str, int]]:
    """What the gateway calls by its settings: it is all that calls anybody."""
    environment = manifests.environment("gateway")
    targets = [name for name in GatewaySettings.model_fields if name.endswith("_targets")]
    urls = [
        urlsplit(environment[f"MESH_{name.upper()}"].replace("dns:///", "dns://"))
        for name in targets
    ]
    return {("gateway", str(url.hostname), int(url.port or 0)) for url in urls}


def test_the_gateway_calls_the_nodes_and_redis_and_nobody_else_calls_anybody() -> None:
    """Its targets by the settings are just the ways that are open."""
    manifests = rendered("local")
    assert len(calls(manifests)) == len(NODES)
    assert edges(manifests) == calls(manifests) | {("gateway", "redis", 6379)}


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_with_a_redis_outside_the_ways_inside_are_the_same(overlay: str) -> None:
    """But for Redis, whose addresses and ports are named."""
    manifests = rendered(overlay)
    assert edges(manifests) == calls(manifests)
    [rule] = manifests.one("NetworkPolicy", "gateway-to-redis")["spec"]["egress"]
    assert all(set(peer) == {"ipBlock"} for peer in rule["to"])
    assert [port["port"] for port in rule["ports"]] == [6379, 6380]


def test_only_the_gateway_is_open_to_others(overlay: Manifests) -> None:
    """On its port for HTTP."""
    open_ones = {
        (name, port)
        for name, pod in pods(overlay).items()
        for port in PORTS
        if enters(overlay, STRANGER, pod, port)
    }
    assert open_ones == {("gateway", 8000)}


def test_only_the_gateway_looks_up_names(overlay: Manifests) -> None:
    """And nobody calls a stranger."""
    asking = {name for name, pod in pods(overlay).items() if leaves(overlay, pod, DNS, 53)}
    assert asking == {"gateway"}
    ports = (53, 80, 443, 8000, 50051, 9090)
    assert not any(leaves(overlay, p, STRANGER, n) for p in pods(overlay).values() for n in ports)


def test_every_service_has_a_policy_of_its_own(overlay: Manifests) -> None:
    """Of both directions, beside the one that denies everything: either would be enough."""
    both = {"policyTypes": ["Ingress", "Egress"]}
    assert overlay.one("NetworkPolicy", "default-deny")["spec"] == {"podSelector": {}, **both}
    for name, workload in overlay.workloads().items():
        spec = overlay.one("NetworkPolicy", name)["spec"]
        assert spec | both == spec
        assert selects(spec["podSelector"], labels_of(workload))


def test_a_call_that_one_end_would_allow_is_refused_by_the_other_end_too(
    overlay: Manifests,
) -> None:
    """Who calls and who is called agree, so that a mistake in one of them opens no way."""
    found = pods(overlay)
    inside = set(found) - {"gateway"}
    entering = {
        (c, t, p)
        for c in found
        for t in inside
        for p in PORTS
        if enters(overlay, found[c], found[t], p)
    }
    leaving = {
        (c, t, p)
        for c in found
        for t in found
        for p in PORTS
        if leaves(overlay, found[c], found[t], p)
    }
    assert entering == leaving == edges(overlay)


def test_prometheus_reaches_what_it_scrapes(everything: Manifests) -> None:
    """Where it is asked for; the gateway's port is open anyway, and a node's gRPC stays closed."""
    found = pods(everything)
    assert enters(everything, PROMETHEUS, found["gateway"], 8000)
    assert all(enters(everything, PROMETHEUS, found[name], 9090) for name in NODES)
    assert not any(enters(everything, PROMETHEUS, found[name], 50051) for name in NODES)
    assert not any(enters(rendered("cpu"), PROMETHEUS, found[name], 9090) for name in NODES)
