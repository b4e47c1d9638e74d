"""The heads by the name of their strategy: what a config may say, and what an artifact holds."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mesh.artifact import Artifact
from services.fusion.auxiliary import AuxiliaryHeads
from services.fusion.model import FUSIONS

MODEL = {"dims": [3, 2], "classes": 3, "width": 8, "hidden": 6}


@pytest.fixture(params=FUSIONS)
def strategy(request: pytest.FixtureRequest) -> str:
    """Each strategy's name."""
    name: str = request.param
    return name


def drops(strategy: str, **model: Any) -> list[float]:
    """The input dropout of a head's modalities."""
    head = FUSIONS[strategy]({**MODEL, **model})
    return [project[0].p for project in head.project]


def test_a_head_needs_only_its_dims_and_classes(strategy: str) -> None:
    """Everything else has a default."""
    head = FUSIONS[strategy]({"dims": [2, 3], "classes": 3}).eval()

    assert head(torch.zeros(1, 5), torch.ones(1, 2)).shape == (1, 3)


def test_input_dropout_is_one_number_or_one_for_each_modality(strategy: str) -> None:
    """As a config likes it."""
    assert drops(strategy, input_dropout=0.4) == [0.4, 0.4]
    assert drops(strategy, input_dropout=0) == [0, 0]
    assert drops(strategy, input_dropout=[0.1, 0.7]) == [0.1, 0.7]


def test_a_number_for_some_modalities_only_is_refused(strategy: str) -> None:
    """Nobody could say which is meant."""
    with pytest.raises(ValueError, match="input_dropout: 3 for 2 modalities"):
        drops(strategy, input_dropout=[0.1, 0.2, 0.3])


def test_an_unknown_key_is_refused_by_its_name(strategy: str) -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match="`model` has depth, wide, which is none of dims, cl"):
        FUSIONS[strategy]({**MODEL, "wide": 3, "depth": 2})


@pytest.mark.parametrize("strategy", ["concat", "mean", "gated"])
def test_only_attention_has_heads_and_layers(strategy: str) -> None:
    """A setting without effect would be a mistake of its author."""
    with pytest.raises(ValueError, match="`model` has heads, layers, which is none of"):
        FUSIONS[strategy]({**MODEL, "heads": 2, "layers": 1})


def test_attention_has_as_many_layers_as_it_is_told() -> None:
    """Each has its own weights."""
    names = FUSIONS["attention"]({**MODEL, "heads": 2, "layers": 3}).state_dict()

    assert {name.split(".")[1] for name in names if name.startswith("layers.")} == set("012")


def test_attention_heads_share_the_width_evenly() -> None:
    """Or the head isn't built."""
    with pytest.raises(ValueError, match="heads: 3 can't share a width of 8 evenly"):
        FUSIONS["attention"]({**MODEL, "heads": 3})


def test_the_shape_that_a_head_keeps_builds_its_like(strategy: str, tmp_path: Path) -> None:
    """Which is what an artifact's config has to say."""
    head = FUSIONS[strategy]({**MODEL, "input_dropout": 0.2})
    kept = {name: getattr(head.shape, name) for name in head.shape.__dataclass_fields__}

    again = FUSIONS[strategy](json.loads(json.dumps(kept)))

    again.load_state_dict(head.state_dict())
    assert again.shape == head.shape


def test_the_default_heads_weights_keep_their_names() -> None:
    """An artifact that was written once is read for ever."""
    artifact = Artifact.open(Path(__file__).parents[4] / "models" / "emotion6" / "fusion")

    assert set(artifact.weights()) == {
        "mean", "deviation", "temperature", "log_prior", "missing",
        *(f"project.{place}.1.{part}" for place in range(3) for part in ("weight", "bias")),
        *(f"classify.{layer}.{part}" for layer in (1, 4) for part in ("weight", "bias")),
    }  # fmt: skip


def test_auxiliary_heads_judge_each_modality_alone(strategy: str) -> None:
    """A modality's logits rest on its own embedding, and on no mask."""
    torch.manual_seed(0)
    head = FUSIONS[strategy](MODEL).eval()
    auxiliary = AuxiliaryHeads(head.shape)
    one = torch.randn(4, 5)
    other = torch.cat([one[:, :3], torch.randn(4, 2)], dim=1)

    logits, turned = (auxiliary(head.projected(embeddings)) for embeddings in (one, other))

    assert logits.shape == (4, 2, 3)
    assert torch.equal(logits[:, 0], turned[:, 0])
    assert not torch.allclose(logits[:, 1], turned[:, 1])


def test_auxiliary_heads_are_no_part_of_what_is_served(strategy: str) -> None:
    """Their weights are theirs alone, and their loss reaches the projections."""
    head = FUSIONS[strategy](MODEL)
    served = set(head.state_dict())
    auxiliary = AuxiliaryHeads(head.shape)

    auxiliary(head.projected(torch.randn(4, 5))).square().sum().backward()

    assert set(head.state_dict()) == served
    assert not served & set(auxiliary.state_dict())
    assert all(weight.grad is not None for weight in auxiliary.parameters())
    assert all(weight.grad is not None for weight in head.project.parameters())
