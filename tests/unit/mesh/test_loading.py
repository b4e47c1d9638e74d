"""From settings to services, over artifacts of the fake models."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mesh import loading
from mesh.artifact import Artifact, ArtifactError
from mesh.calibration import Costs
from mesh.encoding import Usual
from mesh.engine import Engine, EngineBuilder, Inputs, MakeNetwork
from mesh.golden import GoldenMismatch
from mesh.item_encoder import ItemEncoder
from mesh.loading import load_encoder, load_fusion
from mesh.settings import InputLimits, NodeSettings
from mesh.telemetry import NodeMetrics
from tests import fake_artifacts
from tests.fake_models import FakeClassifier, FakeEncoder

# Of which nothing is measured.
ONE_KIND = {
    "engine": "torch",
    "dtype": "float32",
    "max_batch_cost": 1000.0,
    "micro_batch_cost": 1000.0,
}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Leave torch's threads as they were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def settings(*models: Path, devices: str = "cpu") -> NodeSettings:
    """Settings that name these models."""
    return NodeSettings(model=", ".join(map(str, models)), devices=devices, threads=1)


def without(folder: Path, key: str) -> None:
    """Take a key out of an artifact's config."""
    config = json.loads((folder / "config.json").read_text())
    del config[key]
    (folder / "config.json").write_text(json.dumps(config))


async def test_an_encoder_is_loaded_from_its_folder_of_the_model(
    tmp_path: Path, metrics: NodeMetrics
) -> None:
    """And has the artifact's version."""
    fake_artifacts.write_encoder(tmp_path / "text")
    service = load_encoder(settings(tmp_path), metrics, "text", fake_artifacts.load_encoder)
    assert service.info()["version"].startswith("sha256:")
    assert service.item_seconds is not None
    assert service.item_seconds > 0


async def test_a_full_batch_is_computed_before_the_first_request(
    tmp_path: Path, metrics: NodeMetrics
) -> None:
    """For what it needs to be there."""
    fake_artifacts.write_encoder(tmp_path / "text")
    encoder = FakeEncoder(Artifact.open(tmp_path / "text").version)

    asked = settings(tmp_path).model_copy(update={**ONE_KIND, "workers": 3, "max_batch": 4})
    load_encoder(asked, metrics, "text", lambda *_: encoder)

    assert [len(batch) for batch in encoder.batches].count(4) == 1


async def test_what_golden_examples_took_is_given_back_before_the_full_batch(
    tmp_path: Path, metrics: NodeMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By every engine; the full batch then has what it needs."""
    fake_artifacts.write_encoder(tmp_path / "text")
    encoder = FakeEncoder(Artifact.open(tmp_path / "text").version)
    computed: list[int] = []

    def build(make: MakeNetwork, example: Inputs) -> Engine:
        return Engine(np.asarray, 3, release=lambda: computed.append(len(encoder.batches)))

    def load(artifact: Artifact, engine: EngineBuilder, limits: InputLimits) -> FakeEncoder:
        engine(torch.nn.Identity, {})
        return encoder

    monkeypatch.setattr(loading, "builders", lambda *_: [build, build])
    load_encoder(settings(tmp_path).model_copy(update=ONE_KIND), metrics, "text", load)

    assert computed[0] == computed[1] > 0
    assert len(encoder.batches) > computed[0]


async def test_a_node_computes_batches_in_the_parts_that_were_measured(
    tmp_path: Path, metrics: NodeMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one already, before it is ready: it takes no more memory than later ones."""
    fake_artifacts.write_encoder(tmp_path / "text")
    encoder = FakeEncoder(version=Artifact.open(tmp_path / "text").version)
    size = encoder.preprocess(encoder.example).size
    monkeypatch.setattr(loading, "best_costs", lambda *asked: Costs(6 * size, 2 * size))
    asked = settings(tmp_path).model_copy(update={"engine": "torch", "dtype": "float32"})
    load_encoder(asked, metrics, "text", lambda *_: encoder)
    assert [len(batch) for batch in encoder.batches][-6:] == [2, 2, 2, 1, 1, 1]


async def test_an_encoder_on_a_device_of_its_own_shares_no_cores(
    tmp_path: Path, metrics: NodeMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its items cost is nothing to the other nodes then, and its batches may be large."""
    fake_artifacts.write_encoder(tmp_path / "text")
    most = []

    def best_costs(raw: Any, encoder: Any, clock: Any, items: int | None) -> Costs:
        most.append(items)
        return Costs(1.0, 1.0)

    monkeypatch.setattr(loading, "best_costs", best_costs)
    asked = settings(tmp_path).model_copy(update={"engine_cache": "", "max_batch": 9})
    on_cpu = load_encoder(asked, metrics, "text", fake_artifacts.load_encoder)
    monkeypatch.setattr(loading, "is_on_cpu", lambda _: False)
    elsewhere = load_encoder(asked, metrics, "text", fake_artifacts.load_encoder)
    assert on_cpu.item_seconds is not None
    assert elsewhere.item_seconds is None
    assert most == [None, 9]


async def test_an_engine_is_measured_once_though_costs_are_set(
    tmp_path: Path, metrics: NodeMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are measured and kept by the first start that has one of them not set."""
    fake_artifacts.write_encoder(tmp_path / "text")
    asked = settings(tmp_path).model_copy(update={"engine_cache": str(tmp_path / "cache")})
    measured = list[str]()
    chosen, costs = loading.choose, iter([Costs(7.0, 2.0)])

    def choose(allowed: Any, load: Any, seconds: Any) -> Any:
        measured.append("engine")
        return chosen(allowed, load, seconds)

    monkeypatch.setattr(loading, "choose", choose)
    monkeypatch.setattr(loading, "best_costs", lambda *asked: next(costs))
    names = "max_batch_cost", "micro_batch_cost"
    for set_costs, expected in (
        ((3.0, 1.0), (3.0, 1.0)),
        ((5.0, 0.0), (5.0, 2.0)),
        ((0.0, 0.0), (7.0, 2.0)),
        ((0.0, 3.0), (7.0, 3.0)),
        ((5.0, 1.0), (5.0, 1.0)),
    ):
        one = asked.model_copy(update=dict(zip(names, set_costs, strict=True)))
        info = load_encoder(one, metrics, "text", fake_artifacts.load_encoder).info()
        assert tuple(info[name] for name in names) == expected
    assert measured == ["engine"]


@pytest.mark.parametrize("missing", ["name", "golden"])
async def test_an_artifact_without_a_part_is_an_error_that_names_it(
    tmp_path: Path, metrics: NodeMetrics, missing: str
) -> None:
    """And not a KeyError."""
    without(fake_artifacts.write_encoder(tmp_path / "text"), missing)
    without(fake_artifacts.write_fusion(tmp_path / "fusion"), missing)

    def named(artifact: Artifact, engine: EngineBuilder) -> FakeClassifier:
        return FakeClassifier(name=artifact.name)

    with pytest.raises(ArtifactError, match=rf"fusion can't be used: KeyError: '{missing}'"):
        load_fusion(settings(tmp_path), metrics, named)
    if missing == "golden":
        with pytest.raises(ArtifactError, match=r"text can't be used: KeyError: 'golden'"):
            load_encoder(settings(tmp_path), metrics, "text", fake_artifacts.load_encoder)


async def test_a_golden_input_that_the_encoder_refuses_is_the_artifacts_fault(
    tmp_path: Path, metrics: NodeMetrics
) -> None:
    """The error names its folder."""
    folder = fake_artifacts.write_encoder(tmp_path / "text")
    (folder / "golden" / "0.txt").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"text can't be used: InvalidInput"):
        load_encoder(settings(tmp_path), metrics, "text", fake_artifacts.load_encoder)


async def test_each_device_gets_a_checked_replica(tmp_path: Path, metrics: NodeMetrics) -> None:
    """One wrong one is enough to refuse."""
    fake_artifacts.write_encoder(tmp_path / "text", right=False)
    two = settings(tmp_path, devices="cpu,cpu")
    with pytest.raises(GoldenMismatch):
        load_encoder(two, metrics, "text", fake_artifacts.load_encoder)


async def test_fusion_loads_every_model_in_the_order_given(
    tmp_path: Path, metrics: NodeMetrics
) -> None:
    """Preferred first, and spaces after the commas don't matter."""
    models = [tmp_path / "new", tmp_path / "old"]
    for model in models:
        folder = fake_artifacts.write_fusion(model / "fusion")
        (folder / "notes.txt").write_text(model.name)
    service = load_fusion(settings(*models), metrics, fake_artifacts.load_classifier)
    first, second = (artifact["version"] for artifact in service.info()["artifacts"])
    assert first != second


async def test_a_model_that_is_not_there_is_refused(tmp_path: Path, metrics: NodeMetrics) -> None:
    """By its path."""
    with pytest.raises(ArtifactError, match="fusion"):
        load_fusion(settings(tmp_path), metrics, fake_artifacts.load_classifier)


async def test_a_full_batch_is_counted_in_items_of_usual_size(metrics: NodeMetrics) -> None:
    """As the cost of a batch was found with them, and gateways make their calls so large."""
    limited = NodeSettings(threads=1, max_batch_cost=90.0)
    assert ItemEncoder([FakeEncoder()], limited, metrics, Usual(30.0)).batch_items == 3
