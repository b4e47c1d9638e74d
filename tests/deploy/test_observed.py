"""A real Prometheus over the mesh: what it scrapes, and what dashboard and alerts ask it."""

import json
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import yaml

from cli.topology import NODES
from tests.deploy.stack import Stack
from tests.e2e.asking import at_once, everything, predict
from tests.e2e.inputs import ROOT
from tests.e2e.member import http
from tests.waiting import within

DASHBOARD = ROOT / "deploy/grafana/dashboards/sensemesh.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
# Seconds: a few scrapes.
SEEN = 60.0
BURST = 150


def panels() -> dict[str, str]:
    """Every expression of the dashboard, by its panel's title and its place there."""
    found = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return {
        f"{panel['title']} {place}": target["expr"].replace("$__rate_interval", "1m")
        for panel in found
        for place, target in enumerate(panel.get("targets", []))
    }


def alerts() -> dict[str, str]:
    """The figure that each alert looks at, without the threshold: it is there while all is well."""
    rules = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"][0]["rules"]
    return {one["alert"]: re.sub(r"\s[<>]\s*[\d.]+\s*$", "", one["expr"]) for one in rules}


EXPRESSIONS = panels() | alerts()


def query(stack: Stack, expression: str) -> Sequence[dict[str, Any]]:
    """What Prometheus answers now."""
    url = f"{stack.prometheus_url}/api/v1/query"
    answer = http.get(url, params={"query": expression}).raise_for_status().json()
    found: Sequence[dict[str, Any]] = answer["data"]["result"]
    return found


@pytest.fixture(scope="module")
def busy(stack: Stack) -> Stack:
    """A mesh that has seen each kind of trouble that is counted, and is well again."""
    # Too many at once, most of which have too little time.
    at_once([partial(predict, stack.url, everything(), timeout=0.8) for _ in range(BURST)])
    for service in ("redis", "text-encoder", "fusion"):
        stack.compose("stop", service)
        for _ in range(3):
            predict(stack.url, everything())
        stack.up()
    sent = everything()
    for _ in range(2):
        assert predict(stack.url, sent).status_code == 200
    return stack


def test_the_configuration_is_right(stack: Stack) -> None:
    """By Prometheus' own judgement, rules included."""
    config = "/etc/prometheus/prometheus.yml"
    assert "SUCCESS" in stack.inside("prometheus", "promtool", "check", "config", config)


def test_every_service_is_scraped(stack: Stack) -> None:
    """The gateway and each node, by its own name."""

    def found() -> set[str]:
        return {one["metric"]["job"] for one in query(stack, "up == 1")}

    wanted = {"gateway", *NODES}
    within(SEEN, lambda: found() == wanted, lambda: f"only {found()}")


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_expression_returns_data(busy: Stack, name: str) -> None:
    """Of the dashboard's panels, and the figures that alerts look at."""
    expression = EXPRESSIONS[name]
    within(SEEN, lambda: bool(query(busy, expression)), lambda: f"no data: {expression}")


def test_alerts_are_loaded(stack: Stack) -> None:
    """All of them, each of which Prometheus can evaluate."""
    groups = http.get(f"{stack.prometheus_url}/api/v1/rules").json()["data"]["groups"]
    rules = {rule["name"]: rule.get("lastError", "") for rule in groups[0]["rules"]}
    assert rules == dict.fromkeys(alerts(), "")
