"""Artifacts on disk of tiny encoders: the shapes of the real ones, random weights, seed 0."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn

from mesh.artifact import Artifact, sha256
from services.audio_encoder import preprocess as audio
from services.audio_encoder.whisper import PooledWhisper, WhisperShape
from services.text_encoder import preprocess as text
from services.text_encoder.bert import BertShape, MeanPooledBert
from services.vision_encoder import preprocess as image
from services.vision_encoder.efficientnet import EfficientNetLite0
from tests.ctranslate2_writer import write_whisper

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "glad", "happy", "is", "sad", "café")

BERT = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
}
WHISPER = {"mels": 80, "width": 16, "layers": 2, "heads": 2, "positions": 1500, "pooled": [1, 2]}


def seeded(module: nn.Module) -> nn.Module:
    """The module with random weights that are the same in every run, and keep signals' size."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.ndim > 1:
                weight.normal_(std=(2 / weight[0].numel()) ** 0.5, generator=generator)
            else:  # A bias is random from the start, a norm's weight is one.
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
                weight.add_(torch.randn(weight.shape, generator=generator) / 10)
    return module.eval()


def tiny_bert() -> MeanPooledBert:
    """A BERT of 16 numbers."""
    bert = seeded(MeanPooledBert(BertShape(**BERT)))
    assert isinstance(bert, MeanPooledBert)
    return bert


def tiny_whisper() -> PooledWhisper:
    """A Whisper of 2 layers of 16 numbers, both pooled."""
    whisper = seeded(PooledWhisper(WhisperShape(**WHISPER)))
    assert isinstance(whisper, PooledWhisper)
    return whisper


def write_tokenizer(file: Path) -> Path:
    """A tokenizer of WORDS, which pads and cuts as published ones do."""
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(word, vocabulary[word]) for word in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    tokenizer.enable_padding(length=12)
    tokenizer.enable_truncation(12)
    tokenizer.save(str(file))
    return file


def text_artifact(folder: Path) -> Artifact:
    """An artifact of `tiny_bert`; its base is named as a published BERT is, pooler and all."""
    weights = published_bert(tiny_bert().state_dict())
    safetensors.torch.save_file(weights, folder / "base.safetensors")
    write_tokenizer(folder / "tokenizer.json")
    return _write(
        folder,
        architecture="bert",
        model=BERT,
        base=_entry(folder / "base.safetensors"),
        tokenizer=_entry(folder / "tokenizer.json"),
        preprocess={"max_tokens": 8},
        preprocess_revision=text.REVISION,
    )


def vision_artifact(folder: Path) -> Artifact:
    """An artifact of EfficientNet-Lite0, the published file's names and classifier included."""
    torch.save(
        published_efficientnet(seeded(EfficientNetLite0()).state_dict()), folder / "base.pth"
    )
    return _write(
        folder,
        architecture="efficientnet_lite0",
        model={},
        base=_entry(folder / "base.pth"),
        preprocess={"size": 32, "crop": 1.0},
        preprocess_revision=image.REVISION,
    )


def audio_artifact(folder: Path) -> Artifact:
    """An artifact of `tiny_whisper`, its base in CTranslate2's format."""
    write_whisper(folder / "model.bin", tiny_whisper())
    return _write(
        folder,
        architecture="whisper",
        model=WHISPER,
        base=_entry(folder / "model.bin"),
        preprocess={"mels": 80, "seconds": 30},
        preprocess_revision=audio.REVISION,
    )


def published_bert(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """MeanPooledBert's weights under the published names, with what it doesn't use."""
    parts = {
        "attention.out": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "mlp.0": "intermediate.dense",
        "mlp.2": "output.dense",
        "mlp_norm": "output.LayerNorm",
        "embeddings.word": "embeddings.word_embeddings",
        "embeddings.position": "embeddings.position_embeddings",
        "embeddings.segment": "embeddings.token_type_embeddings",
        "embeddings.norm": "embeddings.LayerNorm",
    }
    published = {
        "pooler.dense.weight": torch.zeros(16, 16),
        "embeddings.position_ids": torch.arange(16)[None],
    }
    for name, weight in weights.items():
        where, _, last = name.rpartition(".")
        layer, part = where[: len("layers.0.")], where[len("layers.0.") :]
        layer = layer.replace("layers", "encoder.layer")
        if part == "attention.qkv":
            for own, chunk in zip(("query", "key", "value"), weight.chunk(3), strict=True):
                published[f"{layer}attention.self.{own}.{last}"] = chunk.clone()
        elif part in parts:
            published[f"{layer}{parts[part]}.{last}"] = weight
        else:
            published[f"{parts[where]}.{last}"] = weight
    return published


def published_efficientnet(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """EfficientNetLite0's weights under the published names, with a classifier."""
    norms = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
    published = {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    for name, weight in weights.items():
        match name.split("."):
            case ["blocks", block, "layers", part, "conv", last]:
                published[f"_blocks.{block}._{part}_conv.{last}"] = weight
            case ["blocks", block, "layers", part, "norm", last]:
                published[f"_blocks.{block}.{norms[part]}.{last}"] = weight
            case [("stem" | "head") as part, "conv", last]:
                published[f"_conv_{part}.{last}"] = weight
            case [part, "norm", last]:
                published[f"{'_bn0' if part == 'stem' else '_bn1'}.{last}"] = weight
    return published


def _entry(file: Path) -> dict[str, str]:
    return {"source": f"path:{file.name}", "sha256": sha256(file)}


def _write(folder: Path, **config: Any) -> Artifact:
    (folder / "config.json").write_text(json.dumps({"name": "tiny", **config}))
    return Artifact.open(folder)
