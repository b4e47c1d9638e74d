"""A device's inputs a second by batch size: `python -m benchmarks.encoder_speed ENGINE ...`.

Prints one JSON object: by modality, the rate at each size of the model alone.
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.inputs import example
from benchmarks.model import Model
from benchmarks.setup import Setup
from mesh.encoding import Encoder


def rates(encoder: Encoder[Any], sizes: Sequence[int], seconds: float) -> list[float]:
    """Inputs a second at each size of batch."""
    count = max(sizes)
    items = [encoder.preprocess(example(number)[encoder.modality]) for number in range(count)]
    return [_rate(encoder, items[:size], seconds) for size in sizes]


def _rate(encoder: Encoder[Any], items: Sequence[Any], seconds: float) -> float:
    encoder.forward(items)  # A new shape may have to be compiled.
    start, done = time.perf_counter(), 0
    while (taken := time.perf_counter() - start) < seconds or not done:
        encoder.forward(items)
        done += len(items)
    return done / taken


def main(engine: str, dtype: str, device: str, sizes: str, seconds: str) -> None:
    """Measure what the command line says; sizes are separated by commas."""
    model = Model.load(Setup(engine, dtype, 1, device))
    found = {
        modality: rates(encoder, [int(size) for size in sizes.split(",")], float(seconds))
        for modality, encoder in model.encoders.items()
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
