"""The manifests in k8s/ as a cluster gets them: rendered by kustomize, found by kind and name."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[3]
K8S: Final = ROOT / "k8s"
KUBECTL: Final = Path(sys.executable).with_name("kubectl")
OVERLAYS: Final = ("local", "cpu", "gpu")
NODES: Final = ("text-encoder", "vision-encoder", "audio-encoder", "fusion")
SERVICES: Final = ("gateway", *NODES)
WORKLOADS: Final = ("Deployment", "StatefulSet")
NAME: Final = "app.kubernetes.io/name"

# An overlay with every component that a cluster can have together.
EVERYTHING: Final = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../cpu]
components: [../../components/ingress, ../../components/monitoring, ../../components/keda,
  ../../components/model]
configMapGenerator:
  - {name: models, namespace: sensemesh, literals: ["DIGEST=sha256:0"]}
"""

Document = Mapping[str, Any]


class Manifests:
    """The documents of one rendered overlay."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.documents: list[Document] = list(yaml.load_all(text, yaml.CSafeLoader))

    def every(self, *kinds: str) -> list[Document]:
        """All documents of these kinds."""
        return [one for one in self.documents if one["kind"] in kinds]

    def names(self, kind: str) -> set[str]:
        """The names of all documents of a kind."""
        return {one["metadata"]["name"] for one in self.every(kind)}

    def one(self, kind: str, name: str) -> Document:
        """The document of that kind and name."""
        [found] = [one for one in self.every(kind) if one["metadata"]["name"] == name]
        return found

    def workloads(self) -> dict[str, Document]:
        """Whatever runs pods, by name."""
        return {one["metadata"]["name"]: one for one in self.every(*WORKLOADS)}

    def environment(self, name: str) -> dict[str, str]:
        """What a service's process finds set; "" for what only the cluster knows."""
        server = server_of(self.one("Deployment", name))
        found: dict[str, str] = {}
        for source in server["envFrom"]:
            found |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
        return found | {entry["name"]: entry.get("value", "") for entry in server.get("env", [])}


def pod_of(workload: Document) -> Document:
    """The spec of the pods that a Deployment or StatefulSet runs."""
    return workload["spec"]["template"]["spec"]


def labels_of(workload: Document) -> Mapping[str, str]:
    """The labels of the pods that it runs."""
    return workload["spec"]["template"]["metadata"]["labels"]


def server_of(workload: Document) -> Document:
    """The one container that serves."""
    [server] = pod_of(workload)["containers"]
    return server


def selects(selector: Document, labels: Mapping[str, str]) -> bool:
    """Whether a label selector is met; one of `matchLabels` alone, as all of ours are."""
    assert set(selector) <= {"matchLabels"}
    return selector.get("matchLabels", {}).items() <= labels.items()


@cache
def rendered(overlay: str) -> Manifests:
    """One of the overlays in k8s/overlays."""
    return render(K8S / "overlays" / overlay)


def render(folder: Path) -> Manifests:
    """What `kubectl apply -k` would send from a folder; AssertionError tells why it can't."""
    built = subprocess.run(
        [KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False
    )
    assert (built.returncode, built.stderr) == (0, "")
    return Manifests(built.stdout)


def render_own(kustomization: str, scratch: Path) -> Manifests:
    """A user's own overlay beside ours, in a copy of k8s/ under `scratch`."""
    shutil.copytree(K8S, scratch / "k8s")
    folder = scratch / "k8s" / "overlays" / "own"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(kustomization, encoding="utf-8")
    return render(folder)


def containers(workload: Document) -> Iterator[Document]:
    """All containers of its pods, those that only prepare among them."""
    pod = pod_of(workload)
    yield from pod.get("initContainers", [])
    yield from pod["containers"]
