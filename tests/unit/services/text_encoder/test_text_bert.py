"""The BERT-type network."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from transformers import BertConfig, BertModel

from services.text_encoder.bert import read_bert
from tests.encoder_artifacts import BERT, published_bert, tiny_bert
from tests.unit.services.text_encoder.networks import RAGGED, batch, encode, network


@pytest.fixture
def published() -> dict[str, torch.Tensor]:
    """The weights of `tiny_bert` as they are published, pooler and all."""
    return published_bert(tiny_bert().state_dict())


def assert_is_tiny_bert(file: Path) -> None:
    """What the file holds fits strictly, and each weight is where it belongs."""
    bert = network("bert")
    bert.load_state_dict(read_bert(file), strict=True)

    expected = tiny_bert().state_dict()
    for name, weight in bert.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0, msg=name)


def test_an_embedding_has_length_one() -> None:
    """Cosines of embeddings are their dot products."""
    torch.testing.assert_close(
        encode(network("bert"), *RAGGED).norm(dim=1), torch.ones(len(RAGGED))
    )


def test_its_limits_are_those_of_its_shape() -> None:
    """Preprocessing is held to them."""
    bert = network("bert")

    assert (bert.vocabulary, bert.positions) == (
        BERT["vocab_size"],
        BERT["max_position_embeddings"],
    )


def test_a_published_file_fits_strictly(published: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """Names are ours, and what serves only BERT's own training is left out."""
    safetensors.torch.save_file(published, tmp_path / "model.safetensors")

    assert_is_tiny_bert(tmp_path / "model.safetensors")


def test_a_published_file_with_a_head_fits_strictly(
    published: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """It has "bert." before the names, and may call the norms' weights as TensorFlow did."""
    older = {
        "bert." + name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): w
        for name, w in published.items()
    }
    older |= {"cls.predictions.bias": torch.zeros(10), "classifier.weight": torch.zeros(2, 16)}
    safetensors.torch.save_file(older, tmp_path / "model.safetensors")

    assert_is_tiny_bert(tmp_path / "model.safetensors")


def test_dropout_is_where_the_published_network_has_it(published: dict[str, torch.Tensor]) -> None:
    """In training transformers' own BERT, of the same seed, gives the same numbers."""
    config = BertConfig(**BERT, hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.0)
    theirs, ours = BertModel(config).train(), network("bert", dropout=0.3).train()
    theirs.load_state_dict(published, strict=False)
    inputs = batch(*RAGGED)
    torch.manual_seed(0)
    hidden = theirs(**inputs).last_hidden_state
    torch.manual_seed(0)
    found = ours(**inputs)

    mask = inputs["attention_mask"][:, :, None]
    expected = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
