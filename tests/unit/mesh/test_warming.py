"""What is computed before the first request."""

import time
from typing import Any

import pytest

from mesh import warming
from mesh.settings import NodeSettings
from tests.fake_models import FakeClassifier, FakeEncoder


class Counting(FakeEncoder):
    """Knows how many batches it computed at the same time."""

    def __init__(self) -> None:
        super().__init__(version="v1")
        self.running = self.most = 0

    def forward(self, items: Any) -> Any:
        """Take a moment."""
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(0.05)
        self.running -= 1
        return super().forward(items)


@pytest.mark.parametrize(("on_cpu", "workers"), [(True, 1), (False, 3)])
def test_a_full_batch_is_computed_by_each_worker_that_begins_at_once(
    monkeypatch: pytest.MonkeyPatch, on_cpu: bool, workers: int
) -> None:
    """All at the same time, as they will under load from the first request on."""
    monkeypatch.setattr(warming, "is_on_cpu", lambda _: on_cpu)
    encoder = Counting()
    settings = NodeSettings(workers=3, max_batch=4, max_batch_cost=1000.0, micro_batch_cost=1000.0)
    warming.warm_up(encoder, encoder.preprocess(encoder.example), settings)
    assert encoder.most == workers
    assert [len(batch) for batch in encoder.batches] == [4] * workers


def test_a_head_computes_every_size_before_the_first_request() -> None:
    """Up to the largest batch; in between it computes no others."""
    head = FakeClassifier()
    warming.warm_up_head(head, NodeSettings(max_batch=20))
    assert head.batches == [1, 2, 4, 8, 16, 20]
