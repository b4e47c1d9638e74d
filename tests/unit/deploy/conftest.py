"""Rendered once for all tests of a run."""

import pytest

from tests.unit.deploy.manifests import EVERYTHING, OVERLAYS, Manifests, render_own, rendered


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> Manifests:
    """Each overlay in turn."""
    return rendered(request.param)


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """The overlay cpu with every component."""
    return render_own(EVERYTHING, tmp_path_factory.mktemp("everything"))
