"""What docs/deploy-kubernetes.md tells a person to write and to name is what there is."""

import re
from pathlib import Path

import pytest

from tests.unit.deploy.manifests import K8S, NODES, ROOT, Manifests, pod_of, render_own

PAGE = (ROOT / "docs" / "deploy-kubernetes.md").read_text(encoding="utf-8")
OVERLAYS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def images(manifests: Manifests) -> set[str]:
    """All images of an overlay's pods."""
    pods = [pod_of(one) for one in manifests.workloads().values()]
    return {
        c["image"] for pod in pods for c in (*pod.get("initContainers", []), *pod["containers"])
    }


def test_the_overlay_for_a_cluster_is_all_from_the_users_registry(tmp_path: Path) -> None:
    """With the user's host, and a setting of the gateway's changed."""
    manifests = render_own(OVERLAYS[0], tmp_path)
    assert all(image.startswith("registry.example.com/") for image in images(manifests))
    assert "sensemesh.example.com" not in manifests.text
    assert manifests.environment("gateway")["MESH_CACHE_TTL"] == "3600"


def test_the_same_overlay_over_gpus_wants_one_image_more(tmp_path: Path) -> None:
    """Which the page names."""
    [image] = re.findall(r"```\n(  - name: sensemesh/node-cuda\n.*?)```", PAGE, re.DOTALL)
    over_gpus = OVERLAYS[0].replace("../cpu", "../gpu").replace("images:\n", f"images:\n{image}")
    used = images(render_own(over_gpus, tmp_path))
    assert "registry.example.com/sensemesh/node-cuda:0.1.0" in used
    assert all(image.startswith("registry.example.com/") for image in used)


def test_images_that_are_pushed_are_built_and_used(tmp_path: Path) -> None:
    """Under the same names, in the page's commands and in its overlays."""
    pushed = set(re.findall(r"^docker push (\S+)", PAGE, re.MULTILINE))
    tagged = set(re.findall(r"docker build .*--tag (\S+)", PAGE))
    assert pushed <= tagged
    assert images(render_own(OVERLAYS[0], tmp_path)) <= pushed


def test_the_overlay_for_a_model_delivers_it_and_changes_nothing_yet(tmp_path: Path) -> None:
    """Every node goes on with its model; the digest is the user's."""
    manifests = render_own(OVERLAYS[1], tmp_path)
    assert {manifests.environment(name)["MESH_MODEL"] for name in NODES} == {"models/emotion6"}
    [models] = [one for one in manifests.every("ConfigMap") if "DIGEST" in one["data"]]
    assert models["data"] == {"DIGEST": "sha256:THE-DIGEST"}
    assert models["metadata"]["namespace"] == "sensemesh"
    assert "registry.example.com/sensemesh/models:1" in images(manifests)


def test_a_step_replaces_only_the_pods_of_its_service(tmp_path: Path) -> None:
    """The other Deployments stay as they are, letter by letter."""
    before = render_own(OVERLAYS[1], tmp_path / "before")
    step = 'fusion, behavior: merge, literals: ["MESH_MODEL=models/emotion6"]'
    assert step in OVERLAYS[1]
    changed = OVERLAYS[1].replace(step, step.replace("=models", "=/models/next,models"))
    after = render_own(changed, tmp_path / "after")
    same = {n: before.one("Deployment", n) == after.one("Deployment", n) for n in NODES}
    assert [name for name, is_same in same.items() if not is_same] == ["fusion"]
    assert after.environment("fusion")["MESH_MODEL"] == "/models/next,models/emotion6"


@pytest.mark.parametrize("kind", ["overlays", "components"])
def test_the_page_names_all_overlays_and_components(kind: str) -> None:
    """And no other ones."""
    there = {folder.name for folder in (K8S / kind).iterdir()}
    cells = " ".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))
    assert there <= set(re.findall(r"`([\w-]+)`", cells))
    assert set(re.findall(rf"k8s/{kind}/([\w-]+)", PAGE)) <= there | {"own"}
