#!/bin/sh
# models/emotion6 and the figures in its card, from the three sets below DATA. See docs/data.md.
set -eux
DATA=${1:?the folder of the three data sets}
BIN=.venv/bin
$BIN/sensemesh data build emotion6 --from "$DATA" --to run/emotion6
$BIN/python -m training.encoder runs/emotion6_faces.toml image --output run/models/emotion6_faces
$BIN/sensemesh train runs/emotion6.toml
for split in dev test; do
  $BIN/sensemesh evaluate models/emotion6 run/emotion6/manifest.csv --split $split --out run/evaluation/$split --compare runs/emotion6.toml
done
$BIN/python -m training.folds runs/emotion6.toml audio
$BIN/python -m training.folds runs/emotion6.toml audio --fused

# The same figures through the running mesh.
$BIN/sensemesh up --model models/emotion6 --port 8021 > run/up.log & mesh=$!
trap 'kill $mesh' EXIT
until grep -q "The mesh serves" run/up.log; do kill -0 $mesh; sleep 1; done
$BIN/python -m training.judge run/emotion6/manifest.csv --url http://127.0.0.1:8021
