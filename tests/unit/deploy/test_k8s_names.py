"""What refers to what in the manifests: ports, selectors, accounts, volumes, metrics."""

import re

import pytest
from prometheus_client import CollectorRegistry

from cli.__main__ import SUBCOMMANDS
from gateway.metrics import GatewayMetrics
from gateway.sharing import Shared
from mesh.telemetry import NodeMetrics
from tests.unit.deploy.manifests import (
    NAME,
    NODES,
    SERVICES,
    Document,
    Manifests,
    labels_of,
    pod_of,
    rendered,
    selects,
    server_of,
)


def test_every_service_has_what_belongs_to_it(overlay: Manifests) -> None:
    """And all are in one namespace, restricted."""
    for kind in ("Deployment", "Service", "ServiceAccount", "PodDisruptionBudget"):
        assert overlay.names(kind) - {"redis"} == set(SERVICES)
    others = [one for one in overlay.documents if one["kind"] != "Namespace"]
    assert {one["metadata"]["namespace"] for one in others} == {"sensemesh"}
    labels = overlay.one("Namespace", "sensemesh")["metadata"]["labels"]
    modes = [labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")]
    assert modes == ["restricted"] * 3


def test_services_disruption_budgets_and_spreads_are_of_their_own_pods(overlay: Manifests) -> None:
    """Those of the same name, and of no other."""
    for name, workload in overlay.workloads().items():
        selectors = [workload["spec"]["selector"]]
        selectors += [{"matchLabels": overlay.one("Service", name)["spec"]["selector"]}]
        if name != "redis":
            selectors += [overlay.one("PodDisruptionBudget", name)["spec"]["selector"]]
            spreads = pod_of(workload)["topologySpreadConstraints"]
            selectors += [spread["labelSelector"] for spread in spreads]
        met = [
            {n for n, o in overlay.workloads().items() if selects(s, labels_of(o))}
            for s in selectors
        ]
        assert met == [{name}] * len(selectors)


def test_services_lead_to_ports_that_there_are(overlay: Manifests) -> None:
    """By name, and by the number that targets and probes have."""
    for service in overlay.every("Service"):
        ports = server_of(overlay.workloads()[service["metadata"]["name"]])["ports"]
        listening = {(port["name"], port["containerPort"]) for port in ports}
        assert {
            (port["targetPort"], port["port"]) for port in service["spec"]["ports"]
        } == listening


def test_ports_are_the_settings(overlay: Manifests) -> None:
    """Of the gateway and of each node."""
    for name in SERVICES:
        settings, server = overlay.environment(name), server_of(overlay.one("Deployment", name))
        stated = {int(value) for key, value in settings.items() if key.endswith("_PORT")}
        assert {port["containerPort"] for port in server["ports"]} == stated


def test_nodes_are_seen_pod_by_pod(overlay: Manifests) -> None:
    """A Service with an address of its own would hide them from round_robin."""
    assert all(overlay.one("Service", name)["spec"]["clusterIP"] == "None" for name in NODES)


def test_accounts_are_each_services_own_and_have_no_token(overlay: Manifests) -> None:
    """Nobody here speaks to the cluster's API."""
    for name, workload in overlay.workloads().items():
        pod = pod_of(workload)
        assert pod["serviceAccountName"] == name
        mounted = (pod, overlay.one("ServiceAccount", name))
        assert not any(one["automountServiceAccountToken"] for one in mounted)


def test_autoscalers_are_of_deployments_with_requests(overlay: Manifests) -> None:
    """CPU is measured against them. Where one scales, no manifest says how many there are."""
    for scaler in overlay.every("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        deployment = overlay.one(target["kind"], target["name"])
        assert target["name"] == scaler["metadata"]["name"]
        assert server_of(deployment)["resources"]["requests"]["cpu"]
        assert "replicas" not in deployment["spec"]


def test_a_laptop_gets_one_of_each_and_a_cluster_scales(everything: Manifests) -> None:
    """By CPU, or by what KEDA is told; never by both."""
    assert {one["spec"]["replicas"] for one in rendered("local").workloads().values()} == {1}
    assert rendered("local").names("HorizontalPodAutoscaler") == set()
    assert all(
        rendered(o).names("HorizontalPodAutoscaler") == set(SERVICES) for o in ("cpu", "gpu")
    )
    assert everything.names("HorizontalPodAutoscaler") == set()
    assert {
        one["spec"]["scaleTargetRef"]["name"] for one in everything.every("ScaledObject")
    } == set(SERVICES)


def test_keda_asks_for_metrics_that_there_are(everything: Manifests) -> None:
    """Of the service that it scales."""
    registry = CollectorRegistry()
    NodeMetrics(registry)
    known = set(_series(registry)) | set(_series(GatewayMetrics.of(Shared().share(0)).shown))
    for scaled in everything.every("ScaledObject"):
        query = scaled["spec"]["triggers"][-1]["metadata"]["query"]
        [metric] = re.findall(r"mesh_\w+", query)
        assert metric in known
        assert f'namespace="sensemesh",job="{scaled["metadata"]["name"]}"' in query


def _series(registry: CollectorRegistry) -> list[str]:
    """The names of all series, those of histograms without labels among them."""
    families = list(registry.collect())
    return [f.name for f in families] + [s.name for f in families for s in f.samples]


def test_prometheus_finds_every_service_once(everything: Manifests) -> None:
    """By its labels, on a port that it has; its name becomes the job."""
    found = [
        service["metadata"]["name"]
        for monitor in everything.every("ServiceMonitor")
        for service in everything.every("Service")
        if selects(monitor["spec"]["selector"], service["metadata"]["labels"])
        and _has_port(service, monitor)
    ]
    assert sorted(found) == sorted(SERVICES)
    assert {m["spec"]["jobLabel"] for m in everything.every("ServiceMonitor")} == {NAME}
    assert all(one["metadata"]["labels"][NAME] in SERVICES for one in everything.every("Service"))


def _has_port(service: Document, monitor: Document) -> bool:
    [endpoint] = monitor["spec"]["endpoints"]
    return endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]


def test_outsiders_get_what_clients_use(everything: Manifests) -> None:
    """Not the metrics."""
    [rule] = everything.one("Ingress", "gateway")["spec"]["rules"]
    paths = {path["path"] for path in rule["http"]["paths"]}
    assert paths == {"/predict", "/v1/model", "/openapi.json", "/readyz"}
    backends = [path["backend"]["service"] for path in rule["http"]["paths"]]
    assert all(backend == {"name": "gateway", "port": {"name": "http"}} for backend in backends)


@pytest.mark.parametrize("name", NODES)
def test_other_models_are_fetched_verified_and_served(name: str, everything: Manifests) -> None:
    """In that order; what was verified is what is served, and can't be written to any more."""
    deployment = everything.one("Deployment", name)
    fetch, verify = pod_of(deployment)["initContainers"]
    assert verify["image"] == server_of(deployment)["image"]
    python, *rest, folder, digest = verify["args"]
    assert (python, *rest) == ("python", "-m", "cli", "verify")
    assert rest[-1] in SUBCOMMANDS
    assert digest == "$(DIGEST)"
    [mounted] = fetch["volumeMounts"]
    assert fetch["command"][-1] == mounted["mountPath"]
    for container in (verify, server_of(deployment)):
        mount = {"name": mounted["name"], "mountPath": folder, "readOnly": True}
        assert mount in container["volumeMounts"]


def test_each_encoder_has_a_pool_of_gpus_and_nothing_else_has() -> None:
    """A label to be drawn there, a toleration to be let in, and the device itself."""
    manifests = rendered("gpu")
    for name in SERVICES:
        deployment = manifests.one("Deployment", name)
        pod, limits = pod_of(deployment), server_of(deployment)["resources"]["limits"]
        if not name.endswith("-encoder"):
            assert not {"nodeSelector", "tolerations"} & set(pod)
            assert "nvidia.com/gpu" not in limits
            continue
        assert limits["nvidia.com/gpu"] == 1
        assert manifests.environment(name)["MESH_DEVICES"] == "cuda:0"
        assert pod["nodeSelector"] == {"sensemesh/pool": name}
        tolerated = {(one["key"], one.get("value")) for one in pod["tolerations"]}
        assert tolerated == {("nvidia.com/gpu", None), ("sensemesh/pool", name)}
