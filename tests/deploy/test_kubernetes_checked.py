"""The manifests by the tools of the trade: Kubernetes' own schemas, yamllint and checkov."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.unit.deploy.manifests import (
    EVERYTHING,
    K8S,
    OVERLAYS,
    ROOT,
    Manifests,
    render_own,
    rendered,
)

# An environment of its own, for it pins much of what it stands on; `make test-deploy` makes it.
CHECKOV = ROOT / "run" / "checkov" / "bin" / "checkov"
# What checkov says of the Dockerfile in vain.
EXPLAINED = {"CKV_DOCKER_7": "It does not look into the argument PYTHON, whose tag is no `latest`"}
# Kinds that a cluster learns of others: their schemas are not Kubernetes'.
LEARNED = ("ServiceMonitor", "ScaledObject")


@pytest.fixture(scope="module", params=[*OVERLAYS, "everything"])
def overlay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """Each overlay in turn, and one with every component."""
    if request.param in OVERLAYS:
        return rendered(request.param)
    return render_own(EVERYTHING, tmp_path_factory.mktemp("everything"))


def run(*command: str | Path) -> tuple[int, str]:
    """The exit status and everything that was printed."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_everything_is_by_the_newest_schemas(overlay: Manifests) -> None:
    """Strictly: a field that there is not is an error."""
    newest = kubernetes_validate.latest_version()
    for document in overlay.documents:
        if document["kind"] not in LEARNED:
            kubernetes_validate.validate(document, newest, strict=True)


def test_a_field_that_there_is_not_would_be_found() -> None:
    """And so would one that is missing."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}
    kubernetes_validate.validate(service, kubernetes_validate.latest_version(), strict=True)
    with pytest.raises(kubernetes_validate.ValidationError, match="clusterIp"):
        kubernetes_validate.validate(
            service | {"spec": {"clusterIp": "None"}},
            kubernetes_validate.latest_version(),
            strict=True,
        )


def test_the_files_are_well_kept_yaml() -> None:
    """No key twice, one way to indent."""
    yamllint = Path(sys.executable).with_name("yamllint")
    assert run(yamllint, "--strict", "-c", K8S / ".yamllint", K8S) == (0, "")


@pytest.mark.skipif(not CHECKOV.exists(), reason="make test-deploy installs checkov")
@pytest.mark.timeout(600)
def test_checkov_finds_nothing_and_what_it_skips_is_explained(
    overlay: Manifests, tmp_path: Path
) -> None:
    """Beside each resource that is skipped."""
    file = tmp_path / "rendered.yaml"
    file.write_text(overlay.text, encoding="utf-8")
    found = checked(file)
    assert [(one["check_id"], one["resource"]) for one in found["failed_checks"]] == []
    assert len(found["passed_checks"]) > 300
    reasons = [one["check_result"]["suppress_comment"] for one in found["skipped_checks"]]
    assert all(len(reason.split()) > 5 for reason in reasons)


@pytest.mark.skipif(not CHECKOV.exists(), reason="make test-deploy installs checkov")
def test_checkov_finds_nothing_in_the_dockerfile_but_what_is_explained() -> None:
    """The whole file, by its own rules."""
    found = checked(ROOT / "Dockerfile", "dockerfile")
    assert {one["check_id"] for one in found["failed_checks"]} <= set(EXPLAINED)
    assert len(found["passed_checks"]) > 100


def checked(file: Path, framework: str = "kubernetes") -> Mapping[str, Any]:
    """What checkov says of a file, without asking its maker's servers."""
    status, output = run(
        CHECKOV, "--framework", framework, "--file", file, "--output", "json", "--skip-download"
    )
    assert status in (0, 1), output
    results: Mapping[str, Any] = json.loads(output)["results"]
    return results
