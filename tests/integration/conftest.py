"""What several tests of nodes start from."""

from collections.abc import AsyncIterator

import pytest

from tests.fake_models import FakeEncoder
from tests.running_node import RunningNode, encoder_load, running


@pytest.fixture
def encoder() -> FakeEncoder:
    """The model behind the node."""
    return FakeEncoder()


@pytest.fixture
async def node(encoder: FakeEncoder) -> AsyncIterator[RunningNode]:
    """A node of the fake encoder."""
    async with running(encoder_load(encoder)) as started:
        yield started
        encoder.gate.open()
