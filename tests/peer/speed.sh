#!/usr/bin/env bash
# Times zoomgate and its peers on the same models and on a recipe (tests/peer/bench.py), and prints a table:
#
#   tests/peer/speed.sh [arguments of bench.py…]
#
# RENDER and PEER_PYTHON as for tests/peer/run.sh; ZOOMGATE is to be built as it is here. Works below target/peer-speed,
# where models and recipe stay. Says what one core could do at most, too (tests/peer/peak.c).
set -euo pipefail
cd "$(dirname "$0")/../.."

# A release has tract compiled small, since hardly anything runs in it; here it is a peer.
stock=(--config profile.release.package.tract-core.opt-level=3 --config profile.release.package.tract-data.opt-level=3)

built=${CARGO_TARGET_DIR:-target}/release
zoomgate=${ZOOMGATE:-$built/zoomgate}
render=${RENDER:-$built/examples/render}
if [[ -z ${ZOOMGATE:-} || -z ${RENDER:-} ]]; then
    cargo build --release --bin zoomgate --example render "${stock[@]}"
fi
python=${PEER_PYTHON:-target/peer-venv/bin/python}
if [[ -z ${PEER_PYTHON:-} ]]; then
    [[ -x $python ]] || python3 -m venv target/peer-venv
    "$python" -m pip install --quiet --disable-pip-version-check numpy onnx onnxruntime
    "$python" -m pip install --quiet --disable-pip-version-check openvino || echo "OpenVINO is left out" >&2
fi

# All that is timed: cross/bench-arm.sh wants it, too.
work=target/peer-speed
mkdir -p "$work"
[[ -f $work/models/depthwise3x3-int8.onnx ]] || "$python" tests/peer/models.py "$work/models" >&2
if [[ ! -f $work/recipe.onnx ]]; then
    rm -rf "$work/belt"
    "$render" "$work/belt" 60 40 3 >&2
    mkdir "$work/belt/known"
    for kind in "$work"/belt/test/*/; do
        [[ $(basename "$kind") == good ]] && continue
        for picture in $(find "$kind" -name '*.png' | sort | head -2); do mv "$picture" "$work/belt/known/"; done
    done
    "$zoomgate" teach --good "$work/belt/train/good" --bad "$work/belt/known" --out "$work/recipe.onnx" >&2
fi
"$python" tests/peer/bench.py "$zoomgate" "$work/models" "$work/recipe.onnx" "$@"
gcc -O2 -o "$work/peak" tests/peer/peak.c
if peak=$("$work/peak"); then echo "At most $peak thousand million multiplications a second on one core."; fi
