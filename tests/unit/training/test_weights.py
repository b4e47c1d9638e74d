"""Which weights are trained: patterns, LoRA, frozen norms, the moving average."""

from fnmatch import fnmatchcase

import pytest
import torch
from torch import nn

from services.text_encoder.bert import BertShape, MeanPooledBert
from tests.encoder_artifacts import BERT, seeded, tiny_bert
from training.config import ConfigError, Fit, Lora
from training.weights import averaged, prepared, serving_weights, train_mode

INPUTS = {"input_ids": torch.tensor([[2, 6, 4, 3]]), "attention_mask": torch.ones(1, 4).long()}
LORA = Lora(rank=2, alpha=4, targets=("layers.*.attention.qkv", "layers.0.mlp.*"))
ADAPTED = ("layers.?.attention.qkv.weight", "layers.0.mlp.?.weight")


class Network(nn.Module):
    """A weight of its own, a convolution with its norm, a further norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.zeros(4))
        self.conv = nn.Sequential(nn.Conv1d(2, 4, 1), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(items, 2, n) -> (items, 4, n)."""
        y: torch.Tensor = self.norm(self.conv(x) + self.places[:, None])
        return y


def trained(network: nn.Module) -> set[str]:
    """The names of what is trained."""
    return {name for name, weight in network.named_parameters() if weight.requires_grad}


def adapted() -> nn.Module:
    """A tiny BERT under LORA after some steps, in eval mode."""
    torch.manual_seed(0)
    network = prepared(tiny_bert(), Fit(lora=LORA))
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(learning, 1.0)
    for _ in range(3):
        network(**INPUTS)[0, 0].backward()
        optimizer.step()
    return network.eval()


def test_all_weights_are_trained_unless_told() -> None:
    """Also those that were frozen before."""
    network = prepared(tiny_bert().requires_grad_(False), Fit())

    assert trained(network) == {name for name, _ in network.named_parameters()}


def test_patterns_choose_weights_by_their_names() -> None:
    """As of a shell; what matches one of them is trained, all else is frozen."""
    network = prepared(tiny_bert(), Fit(trainable=("layers.1.*", "embeddings.norm.weight")))

    names = [name for name, _ in network.named_parameters()]
    expected = {name for name in names if name.startswith("layers.1.")}
    assert trained(network) == expected | {"embeddings.norm.weight"}


@pytest.mark.parametrize(
    "fit",
    [
        Fit(trainable=("layers.*", "pooler.*")),
        Fit(lora=Lora(targets=("*.mlp.*", "pooler.*"))),
        Fit(trainable=("pooler.*",), lora=LORA),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused_by_name(fit: Fit) -> None:
    """It would be a mistake of its author that nobody sees."""
    with pytest.raises(ConfigError, match=r"fit: 'pooler\.\*' matches no weight, such as '"):
        prepared(tiny_bert(), fit)


def test_lora_needs_a_linear_layer() -> None:
    """A network of convolutions alone has none, and the config is told so."""
    with pytest.raises(ConfigError, match=r"fit\.lora: the network has no linear layer"):
        prepared(Network(), Fit(lora=LORA))


def test_lora_trains_its_additions_alone() -> None:
    """Two small matrices for each layer that its patterns name."""
    network = prepared(tiny_bert(), Fit(lora=LORA))

    names = [name.removeprefix("base_model.model.") for name in trained(network)]
    assert all(".lora_" in name for name in names)
    layers = {name.partition(".lora_")[0] + ".weight" for name in names}
    assert layers == {
        name
        for name, _ in tiny_bert().named_parameters()
        if any(fnmatchcase(name, pattern) for pattern in ADAPTED)
    }


def test_patterns_beside_lora_train_weights_as_a_whole() -> None:
    """Named as the network has them, not as LoRA's wrappers do."""
    network = prepared(tiny_bert(), Fit(lora=LORA, trainable=("embeddings.norm.*",)))

    whole = {name for name in trained(network) if ".lora_" not in name}
    prefix = "base_model.model.embeddings.norm"
    assert whole == {f"{prefix}.weight", f"{prefix}.bias"}


def test_an_adapted_network_begins_as_it_was() -> None:
    """LoRA adds nothing until it has learned."""
    network = prepared(tiny_bert(), Fit(lora=LORA)).eval()

    assert torch.equal(network(**INPUTS), tiny_bert()(**INPUTS))


def test_lora_changes_only_its_layers() -> None:
    """Under the names that serving knows."""
    before, after = tiny_bert().state_dict(), serving_weights(adapted())

    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert after.keys() == before.keys()
    assert changed == {
        name for name in before if any(fnmatchcase(name, pattern) for pattern in ADAPTED)
    }


def test_merged_weights_compute_what_the_adapted_network_does() -> None:
    """So serving knows nothing of LoRA; and the network can be trained further."""
    network = adapted()
    before = network(**INPUTS)
    plain = MeanPooledBert(BertShape(**BERT)).eval()

    plain.load_state_dict(serving_weights(network))

    assert not torch.allclose(before, tiny_bert()(**INPUTS), atol=0.01)
    torch.testing.assert_close(plain(**INPUTS), before, rtol=0, atol=1e-5)
    assert torch.equal(network(**INPUTS), before)


def test_without_lora_serving_gets_the_networks_own_weights() -> None:
    """Buffers too."""
    network = Network()

    assert serving_weights(network).keys() == network.state_dict().keys()


def test_frozen_norms_keep_their_statistics() -> None:
    """Others learn them."""
    network = prepared(Network(), Fit(trainable=("norm.*", "places")))
    network.places.data.fill_(3.0)
    train_mode(network)

    network(torch.randn(8, 2, 5, generator=torch.Generator().manual_seed(0)))

    assert torch.equal(network.conv[1].running_mean, torch.zeros(4))
    assert not torch.equal(network.norm.running_mean, torch.zeros(4))


def test_a_frozen_weight_leaves_the_layers_below_it_in_training() -> None:
    """As the positions of a Whisper, whose layers are trained, lie beside these layers."""
    network = prepared(Network(), Fit(trainable=("conv.*",))).eval()

    train_mode(network)

    assert [part.training for part in network.conv] == [True, True, True]
    assert not network.norm.training


def test_a_moving_average_follows_closely_at_first() -> None:
    """The weights that training began with are soon forgotten; later its decay smooths."""
    module = nn.Linear(1, 1).requires_grad_(False)
    average = averaged(module, 0.75)
    found = []
    for number in range(60):
        module.weight.fill_(float(number in (1, 50)))
        average.update_parameters(module)
        found.append(float(average.module.weight))

    # The first is taken as it is; the next ones have the decays 2/11, 3/12, ...
    assert found[:3] == pytest.approx([0, 9 / 11, 9 / 11 * 3 / 12])
    assert found[50:53] == pytest.approx([1 / 4, 3 / 16, 9 / 64], abs=1e-6)


def test_a_moving_average_takes_counts_as_they_are() -> None:
    """A norm's statistics are averaged, its count of batches is not."""
    norm = seeded(nn.BatchNorm1d(2)).train()
    average = averaged(norm, 0.9)
    for _ in range(3):
        norm(torch.ones(4, 2))
        average.update_parameters(norm)

    kept = average.module
    assert int(kept.num_batches_tracked) == 3
    assert 0 < float(kept.running_mean[0]) < float(norm.running_mean[0])
