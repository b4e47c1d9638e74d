#!/bin/sh
# The numbers in docs/tutorial.md: STAMPS is the folder of Debian's package tuxpaint-stamps-default.
set -eux
STAMPS=${1:-/usr/share/tuxpaint/stamps}
export MESH_THREADS=1
BIN=.venv/bin
$BIN/sensemesh data build tuxpaint --from "$STAMPS" --to run/tuxpaint
$BIN/sensemesh data check run/tuxpaint/manifest.csv
for name in tuxpaint tuxpaint_tuned; do
    $BIN/sensemesh train runs/$name.toml --output run/models/$name
    $BIN/sensemesh evaluate run/models/$name run/tuxpaint/manifest.csv
done
