"""Fine-tune the vision encoder on faces, and write its weights into its artifact.

    python -m training.tune_faces --data PATH [--model models/emotion6] [--epochs 8]

The published weights know a thousand kinds of things and little of faces. The faces are grey, but
a user's pictures are not: each is given a random tint, so that colour alone means nothing.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn
from torchvision.transforms import v2

from mesh.artifact import Artifact
from mesh.embedding import Modality
from mesh.settings import InputLimits
from services.vision_encoder.model import ARCHITECTURES
from services.vision_encoder.preprocess import ImageConfig, ImagePreprocessor
from training.data import LABELS, SEED, Labelled, read_faces
from training.golden import write_tensors

BATCH: Final = 64
LEARNING_RATE: Final = 1e-3
WEIGHT_DECAY: Final = 0.05
LABEL_SMOOTHING: Final = 0.1
DROPOUT: Final = 0.3
TINT: Final = 0.15

AUGMENT: Final = v2.Compose(
    [
        v2.RandomHorizontalFlip(),
        v2.RandomAffine(
            degrees=12,
            translate=(0.08, 0.08),
            scale=(0.9, 1.15),
            interpolation=v2.InterpolationMode.BILINEAR,
        ),
        v2.ColorJitter(brightness=0.2, contrast=0.2),
    ]
)


def batches(
    faces: Labelled, preprocess: ImagePreprocessor, rows: np.ndarray
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pixels as the encoder gets them, uint8 (items, 3, size, size), and classes, by BATCH."""
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        pixels = torch.stack([preprocess(faces.inputs[row]).pixels for row in batch])
        yield pixels, torch.from_numpy(faces.labels[batch])


def augment(pixels: torch.Tensor) -> torch.Tensor:
    """Another view of each picture, with a random gain for each of its channels."""
    turned = torch.stack([AUGMENT(picture) for picture in pixels]).float()
    gain = 1 + TINT * (2 * torch.rand(len(pixels), 3, 1, 1) - 1)
    return (turned * gain).clamp(0, 255)


@torch.no_grad()
def evaluate(network: nn.Module, faces: Labelled, preprocess: ImagePreprocessor) -> np.ndarray:
    """The recall of each class."""
    network.eval()
    rows = np.arange(len(faces.labels))
    is_right = np.concatenate(
        [
            (network(normalize(pixels, preprocess)).argmax(1) == labels).numpy()
            for pixels, labels in batches(faces, preprocess, rows)
        ]
    )
    network.train()
    return np.array([is_right[faces.labels == number].mean() for number in range(len(LABELS))])


def normalize(pixels: torch.Tensor, preprocess: ImagePreprocessor) -> torch.Tensor:
    """What the model takes, in the memory format that is quickest on CPUs."""
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in (preprocess.config.mean, preprocess.config.std)
    )
    return ((pixels.float() - mean) / std).to(memory_format=torch.channels_last)


def main(command_line: Sequence[str] | None = None) -> None:
    """Settings, data, model, optimiser, loop, artifact."""
    parser = argparse.ArgumentParser(description="Fine-tune the vision encoder on faces.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--model", type=Path, default=Path("models/emotion6"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(command_line)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)

    tune, validation = (read_faces(arguments.data, part) for part in ("tune", "validation"))
    artifact = Artifact.open(arguments.model / Modality.IMAGE)
    limits = InputLimits()
    preprocess = ImagePreprocessor(
        ImageConfig(**artifact.config["preprocess"]),
        limits.max_image_bytes,
        limits.max_image_pixels,
    )

    architecture = ARCHITECTURES[artifact.config["architecture"]]
    encoder = architecture.build(artifact.config["model"])
    encoder.load_state_dict(architecture.read(artifact.base_weights()))
    classifier = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(encoder.dim, len(LABELS)))
    network = nn.Sequential(encoder, classifier).to(memory_format=torch.channels_last)
    # Added to the logits in training alone, the prior leaves a classifier of balanced classes
    # (Menon et al. 2021).
    log_prior = torch.from_numpy(np.log(np.bincount(tune.labels) / len(tune.labels))).float()
    loss_of = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)

    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = arguments.epochs * -(-len(tune.labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.2
    )
    network.train()
    for epoch in range(1, arguments.epochs + 1):
        losses = []
        for pixels, labels in batches(tune, preprocess, rng.permutation(len(tune.labels))):
            logits = network(normalize(augment(pixels), preprocess))
            loss = loss_of(logits + log_prior, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        recalls = evaluate(network, validation, preprocess)
        print(
            f"epoch {epoch}: loss {np.mean(losses):.3f}, mean recall {recalls.mean():.3f}, "
            f"recalls {np.round(recalls, 2)}",
            flush=True,
        )
        weights = {
            name: weight.half().numpy()
            for name, weight in encoder.state_dict().items()
            if weight.is_floating_point()
        }
        write_tensors(artifact.path / "model.safetensors", weights)


if __name__ == "__main__":
    main()
