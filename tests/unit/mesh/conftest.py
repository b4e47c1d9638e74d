"""What several tests of a node's parts start from."""

import pytest
from prometheus_client import CollectorRegistry

from mesh.telemetry import NodeMetrics


@pytest.fixture
def metrics() -> NodeMetrics:
    """The node's metrics."""
    return NodeMetrics(CollectorRegistry())
