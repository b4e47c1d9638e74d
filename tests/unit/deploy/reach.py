"""Who may call whom by a set of NetworkPolicies, as the Kubernetes documentation defines it.

A pod that no policy of a direction selects is open in it; else one policy has to allow a call. Both
ends have to.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.unit.deploy.manifests import Document, Manifests, labels_of, selects, server_of

NAMESPACE = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Pod:
    """A pod as policies see it."""

    labels: Mapping[str, str]
    namespace: str = "sensemesh"


def pods(manifests: Manifests) -> dict[str, Pod]:
    """One pod of each workload, by its name."""
    return {name: Pod(labels_of(one)) for name, one in manifests.workloads().items()}


def edges(manifests: Manifests) -> set[tuple[str, str, int]]:
    """All calls that can be made between the workloads: from, to, port."""
    found = pods(manifests)
    return {
        (source, target, port["containerPort"])
        for source, caller in found.items()
        for target, called in found.items()
        for port in server_of(manifests.workloads()[target])["ports"]
        if leaves(manifests, caller, called, port["containerPort"])
        and enters(manifests, caller, called, port["containerPort"])
    }


def leaves(manifests: Manifests, caller: Pod, called: Pod, port: int) -> bool:
    """Whether the caller's policies let it call."""
    rules = _rules(manifests, caller, "Egress")
    return rules is None or any(_allows(rule, "to", called, port) for rule in rules)


def enters(manifests: Manifests, caller: Pod, called: Pod, port: int) -> bool:
    """Whether the called pod's policies let it be called."""
    rules = _rules(manifests, called, "Ingress")
    return rules is None or any(_allows(rule, "from", caller, port) for rule in rules)


def _rules(manifests: Manifests, pod: Pod, direction: str) -> list[Document] | None:
    """All rules for a pod in one direction; None where no policy is about it."""
    specs = [policy["spec"] for policy in manifests.every("NetworkPolicy")]
    about = [
        spec
        for spec in specs
        if direction in spec["policyTypes"] and selects(spec["podSelector"], pod.labels)
    ]
    if not about:
        return None
    return [rule for spec in about for rule in spec.get(direction.lower(), [])]


def _allows(rule: Document, side: str, other: Pod, port: int) -> bool:
    on_port = any(entry["port"] == port for entry in rule["ports"])
    return on_port and (side not in rule or _is_among(rule[side], other))


def _is_among(peers: Iterable[Document], pod: Pod) -> bool:
    return any(_is(peer, pod) for peer in peers if "ipBlock" not in peer)


def _is(peer: Document, pod: Pod) -> bool:
    namespace = peer.get("namespaceSelector", {"matchLabels": {NAMESPACE: "sensemesh"}})
    return selects(namespace, {NAMESPACE: pod.namespace}) and selects(
        peer.get("podSelector", {}), pod.labels
    )
