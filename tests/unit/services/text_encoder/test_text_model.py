"""The text networks."""

from pathlib import Path

import safetensors.torch
import torch

from services.text_encoder.model import ARCHITECTURES, read_bert
from services.text_encoder.preprocess import TextItem, collate
from tests.encoder_artifacts import BERT, published_bert, tiny_bert


def items(*texts: list[int]) -> list[TextItem]:
    """Items of these token ids."""
    return [TextItem(torch.tensor(ids), truncated=False) for ids in texts]


def test_an_embedding_has_length_one() -> None:
    """Cosines of embeddings are their dot products."""
    with torch.inference_mode():
        vectors = tiny_bert()(**collate(items([2, 5, 3], [2, 6, 7, 8, 3])))

    assert vectors.shape == (2, tiny_bert().dim)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))


def test_a_ragged_batch_equals_one_by_one() -> None:
    """Padding changes nothing."""
    bert, batch = tiny_bert(), items([2, 3], [2, 5, 4, 3], [2, 6, 7, 8, 9, 4, 3])
    with torch.inference_mode():
        together = bert(**collate(batch))
        alone = torch.cat([bert(**collate([item])) for item in batch])

    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_the_words_matter() -> None:
    """Different texts have different embeddings."""
    with torch.inference_mode():
        one, other = tiny_bert()(**collate(items([2, 5, 3], [2, 8, 3])))

    assert one @ other < 0.9999


def test_a_published_file_fits_strictly(tmp_path: Path) -> None:
    """Names are ours, and what serves only BERT's own training is left out."""
    safetensors.torch.save_file(
        published_bert(tiny_bert().state_dict()), tmp_path / "model.safetensors"
    )
    model = ARCHITECTURES["bert"].build(BERT)
    model.load_state_dict(read_bert(tmp_path / "model.safetensors"), strict=True)

    expected = tiny_bert().state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0, msg=name)
