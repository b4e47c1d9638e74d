"""The parts in which a node would compute batches: `python -m benchmarks.parts ENGINE ...`.

Prints one JSON object: by modality, what a part costs at most.
"""

import json
import subprocess
import sys

from benchmarks.inputs import ROOT
from benchmarks.setup import Setup
from mesh.embedding import Modality


def measured_apart(setup: Setup) -> dict[Modality, float]:
    """By a process that ends, as a node has it done: what it measures with takes memory."""
    command = [sys.executable, "-m", "benchmarks.parts"]
    command += [setup.engine, setup.dtype, str(setup.threads)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {Modality(modality): cost for modality, cost in found.items()}


def main(engine: str, dtype: str, threads: str) -> None:
    """Measure what the command line says."""
    from benchmarks.model import MODEL, Model
    from mesh.artifact import Artifact
    from mesh.calibration import best_costs, clock_of, usual
    from mesh.golden import golden_raws

    setup, found = Setup(engine, dtype, int(threads)), {}
    for modality, encoder in Model.load(setup).encoders.items():
        raw = usual(golden_raws(encoder, Artifact.open(MODEL / modality)), encoder)
        costs = best_costs(raw, encoder, clock_of(setup.settings))
        found[modality] = costs.micro_batch
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
