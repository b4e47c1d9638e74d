"""Embeddings on their way to the wire and back."""

import pytest

from mesh.embedding import (
    Embedding,
    Modality,
    embedding_from_pb,
    modality_from_pb,
    modality_to_pb,
    write_embedding,
)
from mesh.errors import InvalidInput
from mesh.v1 import embedding_pb2 as pb


@pytest.mark.parametrize("modality", Modality)
@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float16", 2)])
def test_an_embedding_survives_the_wire(modality: Modality, dtype: str, size: int) -> None:
    """Every field of it, bit by bit."""
    embedding = Embedding(modality, "sha256:x", dtype, 3, bytes(range(3 * size)), truncated=True)
    write_embedding(embedding, message := pb.Embedding())
    sent = message.SerializeToString()
    assert embedding_from_pb(pb.Embedding.FromString(sent)) == embedding


@pytest.mark.parametrize(
    ("dtype", "dim", "data"),
    [("float32", 2, b"1234"), ("float16", 0, b""), ("float64", 1, b"12345678")],
)
def test_parts_that_contradict_each_other_are_refused(dtype: str, dim: int, data: bytes) -> None:
    """Bytes that aren't dim numbers, no numbers at all, an unknown dtype."""
    with pytest.raises(InvalidInput):
        Embedding(Modality.TEXT, "v", dtype, dim, data)


@pytest.mark.parametrize("modality", Modality)
def test_every_modality_has_a_name_on_the_wire(modality: Modality) -> None:
    """And back."""
    assert modality_from_pb(modality_to_pb(modality)) is modality


def test_a_message_of_no_known_modality_or_dtype_is_refused() -> None:
    """As a newer peer might send it."""
    with pytest.raises(InvalidInput):
        embedding_from_pb(pb.Embedding(dtype=pb.D_TYPE_FLOAT32, dim=1, data=b"1234"))
    with pytest.raises(InvalidInput):
        embedding_from_pb(pb.Embedding(modality=pb.MODALITY_TEXT, dim=1, data=b"1234"))
