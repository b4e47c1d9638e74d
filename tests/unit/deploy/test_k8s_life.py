"""Starting, stopping and replacing pods: what the manifests give is what the code needs."""

import pytest

from gateway.server import KILL_AFTER, LINGER
from mesh.listening import MAX_CONNECTION_AGE_MS
from mesh.node import OPS_GRACE
from mesh.settings import GatewaySettings, NodeSettings
from tests.unit.deploy.manifests import NODES, SERVICES, Manifests, pod_of, rendered, server_of

# Seconds: how long a cluster's DNS goes on giving an address that is gone, or not yet a new one.
DNS_TTL = 5
# gRPC spreads the end of connections over a tenth more and less.
JITTER = 1.1
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def stated(manifests: Manifests, service: str, name: str) -> float:
    """A setting in seconds, which the manifests have to state."""
    return float(manifests.environment(service)[name])


def pause(manifests: Manifests, service: str) -> float:
    """Seconds before the process gets SIGTERM."""
    server = server_of(manifests.one("Deployment", service))
    return float(server["lifecycle"]["preStop"]["sleep"]["seconds"])


def grace(manifests: Manifests, service: str) -> float:
    """Seconds before the pod is killed."""
    pod = pod_of(manifests.one("Deployment", service))
    return float(pod["terminationGracePeriodSeconds"])


@pytest.mark.parametrize("service", NODES)
def test_a_node_has_the_time_to_drain(service: str, overlay: Manifests) -> None:
    """The pause, serving on, finishing, and the end of its ops port."""
    delay = stated(overlay, service, "MESH_DRAIN_DELAY")
    drain = stated(overlay, service, "MESH_DRAIN")
    assert grace(overlay, service) >= pause(overlay, service) + delay + drain + OPS_GRACE
    assert drain >= GatewaySettings.model_fields["timeout"].default


def test_the_gateway_has_the_time_to_answer_all(overlay: Manifests) -> None:
    """Also a request that came last and may take longest."""
    longest = GatewaySettings.model_fields["timeout_max"].default
    delay = stated(overlay, "gateway", "MESH_DRAIN_DELAY")
    needed = pause(overlay, "gateway") + delay + LINGER + longest + KILL_AFTER
    assert grace(overlay, "gateway") >= needed


@pytest.mark.parametrize("service", SERVICES)
def test_the_pause_outlasts_old_answers_of_dns(service: str, overlay: Manifests) -> None:
    """Who asks after the process has begun to stop is not sent to it."""
    assert pause(overlay, service) >= DNS_TTL


@pytest.mark.parametrize("name", ["cpu", "gpu"])
@pytest.mark.parametrize("service", NODES)
def test_an_old_node_stays_until_gateways_know_the_new_one(service: str, name: str) -> None:
    """They look when a connection ends of age."""
    ready = rendered(name).one("Deployment", service)["spec"]["minReadySeconds"]
    assert ready >= MAX_CONNECTION_AGE_MS / 1000 * JITTER + DNS_TTL


@pytest.mark.parametrize("service", SERVICES)
def test_a_roll_out_adds_before_it_takes_away(service: str, overlay: Manifests) -> None:
    """Or the last replica would be gone for a while."""
    strategy = overlay.one("Deployment", service)["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize("service", NODES)
def test_nodes_are_probed_by_grpc(service: str, overlay: Manifests) -> None:
    """On the port that they listen on, where grpc.health.v1 answers for the whole server."""
    server = server_of(overlay.one("Deployment", service))
    port = int(overlay.environment(service)["MESH_GRPC_PORT"])
    assert [server[probe]["grpc"]["port"] for probe in PROBES] == [port] * 3
    assert port == NodeSettings.model_fields["grpc_port"].default


def test_the_gateway_is_probed_by_http(overlay: Manifests) -> None:
    """Without fusion it is not ready, but alive: a restart would not help."""
    server = server_of(overlay.one("Deployment", "gateway"))
    asked = [server[probe]["httpGet"] for probe in PROBES]
    assert [get["path"] for get in asked] == ["/healthz", "/readyz", "/healthz"]
    assert {get["port"] for get in asked} == {"http"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_busy_process_is_not_killed_for_a_late_answer(service: str, overlay: Manifests) -> None:
    """It has a minute to answer one of the probes; a start may take longer."""
    server = server_of(overlay.one("Deployment", service))
    spans = [
        server[probe]["periodSeconds"] * server[probe].get("failureThreshold", 3)
        for probe in PROBES
    ]
    assert spans[0] >= 60
    assert spans[2] >= 60
    assert all(server[probe]["timeoutSeconds"] >= 5 for probe in PROBES)
