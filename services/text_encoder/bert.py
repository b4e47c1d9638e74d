"""BERT-type: every token sees all the others; their mean is the embedding."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import safetensors.torch
import torch
from torch import nn

from services.text_encoder.network import Network
from services.text_encoder.pooling import mean


@dataclass(frozen=True, slots=True)
class BertShape:
    """The shape of a BERT, under the names of its published config.json.

    `dropout` is the published `hidden_dropout_prob`, and only training feels it.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    dropout: float = 0.0


class BertEmbeddings(nn.Module):
    """The sum of what stands for each token, its place and its segment, normalised."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.word = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.position = nn.Embedding(shape.max_position_embeddings, shape.hidden_size)
        self.segment = nn.Embedding(shape.type_vocab_size, shape.hidden_size)
        self.norm = nn.LayerNorm(shape.hidden_size, shape.layer_norm_eps)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(items, tokens) ids -> (items, tokens, hidden_size); all tokens are of segment 0."""
        places = self.position.weight[: input_ids.shape[1]] + self.segment.weight[0]
        normed: torch.Tensor = self.dropout(self.norm(self.word(input_ids) + places))
        return normed


class Attention(nn.Module):
    """Multi-head self-attention; query, key and value come from one matrix."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, attends: torch.Tensor) -> torch.Tensor:
        """(items, tokens, width) and bool (items, 1, 1, tokens): what is seen -> as x."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attends)
        mixed: torch.Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return mixed


class BertLayer(nn.Module):
    """Attention, then two linear layers; each is added to its input and normalised after."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        width, inner = shape.hidden_size, shape.intermediate_size
        self.attention = Attention(width, shape.num_attention_heads)
        self.attention_norm = nn.LayerNorm(width, shape.layer_norm_eps)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
        self.mlp_norm = nn.LayerNorm(width, shape.layer_norm_eps)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: torch.Tensor, attends: torch.Tensor) -> torch.Tensor:
        """As Attention."""
        x = self.attention_norm(x + self.dropout(self.attention(x, attends)))
        y: torch.Tensor = self.mlp_norm(x + self.dropout(self.mlp(x)))
        return y


class MeanPooledBert(Network):
    """A sentence encoder: BERT, the mean over the tokens, L2 norm (Reimers and Gurevych 2019).

    Its layers are written here since importing transformers takes a node three seconds of a core.
    """

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.dim = shape.hidden_size
        self.vocabulary, self.positions = shape.vocab_size, shape.max_position_embeddings
        self.embeddings = BertEmbeddings(shape)
        self.layers = nn.ModuleList(BertLayer(shape) for _ in range(shape.num_hidden_layers))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(items, tokens) ids and mask -> float32 (items, dim) of length 1; padding is no token."""
        hidden = self.embeddings(input_ids)
        attends = attention_mask.bool()[:, None, None, :]
        for layer in self.layers:
            hidden = layer(hidden, attends)
        return nn.functional.normalize(mean(hidden, attention_mask), dim=-1)


# The published names of the layers, and ours.
_RENAMED: Final = (
    (r"^embeddings\.(word|position)_embeddings\.", r"embeddings.\1."),
    (r"^embeddings\.token_type_embeddings\.", "embeddings.segment."),
    (r"^embeddings\.LayerNorm\.", "embeddings.norm."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"layers.\1.attention.out."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.", r"layers.\1.attention_norm."),
    (r"^encoder\.layer\.(\d+)\.intermediate\.dense\.", r"layers.\1.mlp.0."),
    (r"^encoder\.layer\.(\d+)\.output\.dense\.", r"layers.\1.mlp.2."),
    (r"^encoder\.layer\.(\d+)\.output\.LayerNorm\.", r"layers.\1.mlp_norm."),
)
# Apart in the published file, one after the other in ours.
_QUERY: Final = re.compile(r"^encoder\.layer\.(\d+)\.attention\.self\.query\.(weight|bias)$")


def read_bert(file: Path) -> dict[str, torch.Tensor]:
    """The weights of a published BERT's safetensors, under MeanPooledBert's names.

    Pooler and heads serve other tasks, and positions are no longer stored as weights.
    """
    unused = ("pooler.", "cls.", "classifier.", "embeddings.position_ids")
    published = {_modern(name): w for name, w in safetensors.torch.load_file(file).items()}
    weights = {
        _rename(name): weight
        for name, weight in published.items()
        if not name.startswith(unused) and ".attention.self." not in name
    }
    for query in filter(None, map(_QUERY.match, published)):
        parts = [published[query[0].replace("query", part)] for part in ("query", "key", "value")]
        weights[f"layers.{query[1]}.attention.qkv.{query[2]}"] = torch.cat(parts)
    return weights


def _modern(name: str) -> str:
    """The name as files have it that hold no head, whose norms are not TensorFlow's any more."""
    name = re.sub(r"\.LayerNorm\.gamma$", ".LayerNorm.weight", name.removeprefix("bert."))
    return re.sub(r"\.LayerNorm\.beta$", ".LayerNorm.bias", name)


def _rename(name: str) -> str:
    for pattern, ours in _RENAMED:
        name = re.sub(pattern, ours, name)
    return name
