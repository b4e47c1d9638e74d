"""The parts in which a node would compute batches: `python -m benchmarks.parts ENGINE ...`.

Prints one JSON object: by modality, what one run of the model costs at most.
"""

import json
import sys

from benchmarks.model import MODEL, Model
from benchmarks.setup import Setup
from mesh.artifact import Artifact
from mesh.calibration import best_costs, clock_of, usual
from mesh.golden import golden_raws


def measured(setup: Setup) -> dict[str, float]:
    """As a node measures it, on a CPU. What it is measured with stays in memory."""
    found = {}
    for modality, encoder in Model.load(setup).encoders.items():
        raw = usual(golden_raws(encoder, Artifact.open(MODEL / modality)), encoder)
        costs = best_costs(raw, encoder, clock_of(setup.settings))
        found[str(modality)] = costs.micro_batch
    return found


def main(engine: str, dtype: str, threads: str) -> None:
    """Measure what the command line says."""
    sys.stdout.write(json.dumps(measured(Setup(engine, dtype, int(threads)))) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
