"""The parts that the ceiling and tuned peers compute batches in."""

import pytest

from benchmarks import parts
from benchmarks.model import Model
from benchmarks.setup import Setup
from mesh.calibration import Costs
from mesh.embedding import Modality
from mesh.grouping import BatchLimits
from tests.fake_models import FakeClassifier, FakeEncoder


def test_they_are_those_that_a_node_would_find(monkeypatch: pytest.MonkeyPatch) -> None:
    """By modality, for its golden input of usual size; a batch is the contender's own affair."""
    model = Model({Modality.TEXT: FakeEncoder()}, FakeClassifier(), {})
    asked = []

    def best_costs(raw: str, *rest: object) -> Costs:
        asked.append(raw)
        return Costs(batch=64.0, micro_batch=8.0)

    monkeypatch.setattr(Model, "load", lambda *_: model)
    monkeypatch.setattr(parts, "best_costs", best_costs)
    assert parts.measured(Setup()) == {"text": 8.0}
    assert [bool(raw) for raw in asked] == [True]


def test_a_model_computes_in_the_parts_that_it_is_given() -> None:
    """Each embedding in its place."""
    encoder = FakeEncoder()
    limits = {Modality.TEXT: BatchLimits(8, 4.0)}
    model = Model({Modality.TEXT: encoder}, FakeClassifier(), limits)
    vectors = model.encode(Modality.TEXT, ["a", "bb", "c", "dd"])
    assert [vector[0] for vector in vectors] == [1, 2, 1, 2]
    assert max(map(len, encoder.batches)) == 2
