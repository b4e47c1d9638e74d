"""A real API server is asked what it would make of every overlay, by `apply --dry-run=server`.

It finds what no schema does: selectors that don't match, requests over limits, volumes that there
are not. The one that can be had everywhere is of Kubernetes 1.20; what is younger is put in its
words.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.deploy.manifests import (
    EVERYTHING,
    KUBECTL,
    OVERLAYS,
    ROOT,
    Document,
    Manifests,
    render_own,
    rendered,
)

# Runs a command with KUBECONFIG set to an API server of its own; the first time it builds one.
TOOL = ROOT.parent / "shared" / "tools" / "with-kube-api"
OLD_VERSIONS = {"policy/v1": "policy/v1beta1", "autoscaling/v2": "autoscaling/v2beta2"}
# What the server learns of the Prometheus operator and of KEDA, where they are installed.
LEARNED = ("ServiceMonitor", "ScaledObject")

# Validation is the server's: kubectl's own goes by the schemas of its time.
SCRIPT = """
kubectl=$1 folder=$2
"$kubectl" create namespace sensemesh >/dev/null
for file in "$folder"/*.yaml; do
  "$kubectl" apply --dry-run=server --validate=false -f "$file" >"$file.told" 2>&1
  echo $? >"$file.status"
done
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the server said of each overlay, and of one that is wrong."""
    if not TOOL.exists():
        pytest.skip("there is no with-kube-api here")
    folder = tmp_path_factory.mktemp("told")
    sets = {name: rendered(name) for name in OVERLAYS}
    sets["everything"] = render_own(EVERYTHING, tmp_path_factory.mktemp("everything"))
    for name, manifests in sets.items():
        write(folder / f"{name}.yaml", known(manifests))
    service, *_ = rendered("cpu").every("Service")
    write(folder / "wrong.yaml", [service | {"spec": service["spec"] | {"type": "Door"}}])
    subprocess.run([TOOL, "bash", "-c", SCRIPT, "bash", KUBECTL, folder], check=True)
    return folder


def known(manifests: Manifests) -> list[Document]:
    """The documents of the kinds that the server has from the start."""
    return [one for one in manifests.documents if one["kind"] not in LEARNED]


def write(file: Path, documents: list[Document]) -> None:
    """Write them as the old server understands them."""
    file.write_text(yaml.safe_dump_all(older(one) for one in documents), encoding="utf-8")


def older(value: Any) -> Any:
    """The same in the words of Kubernetes 1.20: older groups, and older ways to probe and wait."""
    if isinstance(value, list):
        return [older(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {_older_key(key, inner): older(_older_value(key, inner)) for key, inner in value.items()}


def _older_key(key: str, value: Any) -> str:
    names = {"grpc": "tcpSocket", "sleep": "exec"}
    return names.get(key, key) if isinstance(value, Mapping) else key


def _older_value(key: str, value: Any) -> Any:
    if key == "apiVersion":
        return OLD_VERSIONS.get(value, value)
    if key == "sleep":
        return {"command": ["sleep", str(value["seconds"])]}
    return value


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [*OVERLAYS, "everything"])
def test_the_server_takes_every_overlay(name: str, folder: Path) -> None:
    """All of its documents."""
    told = (folder / f"{name}.yaml.told").read_text(encoding="utf-8")
    documents = list(yaml.safe_load_all((folder / f"{name}.yaml").read_text(encoding="utf-8")))
    assert (folder / f"{name}.yaml.status").read_text(encoding="utf-8") == "0\n", told
    assert told.count("(server dry run)") == len(documents)


@pytest.mark.timeout(3600)
def test_the_server_refuses_what_is_wrong(folder: Path) -> None:
    """Or the tests above would show nothing."""
    assert (folder / "wrong.yaml.status").read_text(encoding="utf-8") == "1\n"
    assert "spec.type" in (folder / "wrong.yaml.told").read_text(encoding="utf-8")
