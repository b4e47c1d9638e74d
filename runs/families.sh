#!/bin/sh
# The table of families in docs/training.md, after runs/tuxpaint.sh: trains, scores and serves each.
set -eu
export MESH_THREADS=1
BIN=.venv/bin MANIFEST=run/tuxpaint/manifest.csv
for number in 1 2; do
    $BIN/sensemesh train runs/families_$number.toml --output run/models/families_$number
done
for name in tuxpaint families_1 families_2; do
    $BIN/sensemesh evaluate run/models/$name $MANIFEST --split dev --robustness 0 --out run/evaluation/$name-dev
    $BIN/sensemesh up --model run/models/$name --port 8022 > run/up.log & mesh=$!
    trap 'kill $mesh' EXIT
    until grep -q "The mesh serves" run/up.log; do kill -0 $mesh; sleep 1; done
    $BIN/python - $MANIFEST run/models/$name http://127.0.0.1:8022 <<'PYTHON'
import sys
from pathlib import Path
from statistics import median

import httpx

from training.manifest import read_manifest
from training.trained import load_model

manifest, model, url = sys.argv[1:]
rows = read_manifest(Path(manifest)).rows
for modality, encoder in load_model(Path(model)).encoders.items():
    timings = []
    for row in [row for row in rows if modality in row.inputs][:100]:
        raw = row.raw(modality)
        part = (None, raw) if isinstance(raw, str) else ("file", raw)
        answer = httpx.post(f"{url}/predict", files={modality: part}).raise_for_status().json()
        if answer["modalities"][modality]["status"] == "computed":
            timings.append(answer["timing_ms"]["encode"])
    print(modality, f"{median(timings):.1f} ms over {len(timings)}")
PYTHON
    trap - EXIT
    kill $mesh
    wait $mesh || true
done
