"""What several tests of nodes, or of the gateway over HTTP, start from."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fake_models import FakeEncoder
from tests.gateway_harness import GatewayProcess
from tests.redis_process import RedisProcess
from tests.running_node import RunningNode, encoder_load, running

# Of the gateway.
MAX_BODY = 4_000_000
MAX_IN_FLIGHT = 4


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


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway of small bounds for all tests of a file."""
    log = tmp_path_factory.mktemp("gateway") / "log"
    with GatewayProcess(
        log, max_body=MAX_BODY, max_in_flight=MAX_IN_FLIGHT, max_in_flight_bytes=2 * MAX_BODY
    ) as process:
        yield process


@pytest.fixture
def redis() -> Iterator[RedisProcess]:
    """A Redis of the test's own."""
    process = RedisProcess()
    try:
        process.start()
        yield process
    finally:
        process.kill()
