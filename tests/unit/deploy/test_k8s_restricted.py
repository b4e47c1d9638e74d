"""What a container may do: as little as it needs."""

from collections.abc import Iterator

from tests.unit.deploy.manifests import SERVICES, Document, Manifests, containers, pod_of

LOCKED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def pods(*sets: Manifests) -> Iterator[Document]:
    """The workloads of some rendered overlays."""
    for manifests in sets:
        yield from manifests.workloads().values()


def test_nobody_is_root(overlay: Manifests, everything: Manifests) -> None:
    """The user is the images' own, and system calls are filtered."""
    for workload in pods(overlay, everything):
        context = pod_of(workload)["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_nothing_can_be_written_but_what_is_bounded(
    overlay: Manifests, everything: Manifests
) -> None:
    """No container has privileges, and every folder to write to has a limit."""
    for workload in pods(overlay, everything):
        assert all(one["securityContext"] == LOCKED for one in containers(workload))
        volumes = pod_of(workload).get("volumes", [])
        assert all(volume["emptyDir"]["sizeLimit"] for volume in volumes)


def test_every_service_has_a_place_for_what_is_short_lived(overlay: Manifests) -> None:
    """A body that is being read, and the metrics that several processes of a gateway share."""
    for name in SERVICES:
        pod = pod_of(overlay.one("Deployment", name))
        [server] = pod["containers"]
        assert {"name": "tmp", "mountPath": "/tmp"} in server["volumeMounts"]
        assert {"name": "tmp", "emptyDir": {"sizeLimit": "128Mi"}} in pod["volumes"]


def test_every_container_says_what_it_takes(overlay: Manifests, everything: Manifests) -> None:
    """At least and at most."""
    for workload in pods(overlay, everything):
        for one in containers(workload):
            assert set(one["resources"]["requests"]) == {"cpu", "memory"}
            assert set(one["resources"]["limits"]) >= {"cpu", "memory"}
