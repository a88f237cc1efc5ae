#!/usr/bin/env bash
# Teaches recipes, inspects pictures with them, and has onnxruntime rebuild every score; then quantises a network into
# QOperator form and compares every tensor of it (tests/peer/qoperator.py).
#
#   tests/peer/run.sh [belt]     with belt, one recipe of rendered parts alone
#
# ZOOMGATE, RENDER and OUTPUTS name other binaries than the release build's, PEER_PYTHON an interpreter that has numpy, onnx and
# onnxruntime; without it a virtual environment is made under target/. Works below target/peer, which it empties.
set -euo pipefail
cd "$(dirname "$0")/../.."

built=${CARGO_TARGET_DIR:-target}/release
zoomgate=${ZOOMGATE:-$built/zoomgate}
render=${RENDER:-$built/examples/render}
outputs=${OUTPUTS:-$built/examples/outputs}
if [[ -z ${ZOOMGATE:-} || -z ${RENDER:-} || -z ${OUTPUTS:-} ]]; then
    cargo build --release --bin zoomgate --example render --example outputs
fi
python=${PEER_PYTHON:-target/peer-venv/bin/python}
if [[ -z ${PEER_PYTHON:-} ]]; then
    [[ -x $python ]] || python3 -m venv target/peer-venv
    "$python" -m pip install --quiet --disable-pip-version-check numpy onnx onnxruntime
fi

work=target/peer
rm -rf "$work"
mkdir -p "$work"

# compare NAME TEACH-ARGUMENTS… -- PICTURES…: one recipe against its peer.
compare() {
    local name=$1 teach=()
    shift
    while [[ $1 != -- ]]; do teach+=("$1"); shift; done
    shift
    echo "== $name"
    "$zoomgate" teach "${teach[@]}" --out "$work/$name.onnx"
    "$zoomgate" inspect --recipe "$work/$name.onnx" --dump-inputs "$work/$name.dump" "$@" >"$work/$name.jsonl"
    "$python" tests/peer/onnxruntime.py "$work/$name.onnx" "$work/$name.dump"
}

echo "== pictures of the simulated belt"
"$render" "$work/belt" 60 40 3
mkdir "$work/belt/known"
for kind in "$work"/belt/test/*/; do
    [[ $(basename "$kind") == good ]] && continue
    for picture in $(find "$kind" -name '*.png' | sort | head -2); do mv "$picture" "$work/belt/known/"; done
done
compare belt --good "$work/belt/train/good" --bad "$work/belt/known" -- "$work/belt/test"
if [[ ${1:-} == belt ]]; then
    echo "== onnxruntime agrees"
    exit 0
fi
compare belt-good-only --good "$work/belt/train/good" -- "$work/belt/test"

casting=../shared/data/casting
if [[ -f $casting/split.csv ]]; then
    # 100 good and 10 bad to teach, 40 and 40 others to inspect. Columns: path,split,label,…
    "$python" - "$casting" "$work/casting" <<'PYTHON'
import csv, pathlib, shutil, sys
source, target = map(pathlib.Path, sys.argv[1:])
rows = sorted(csv.DictReader(open(source / "split.csv", newline="")), key=lambda r: r["path"])
pick = lambda split, label: [r["path"] for r in rows if r["split"] == split and r["label"] == label]
bad = pick("test", "1")
for folder, paths in {"good": pick("train", "0")[:100], "bad": bad[:10], "test": pick("test", "0")[:40] + bad[10:50]}.items():
    (target / folder).mkdir(parents=True)
    for n, path in enumerate(paths):
        shutil.copy(source / path, target / folder / f"{n:03}{pathlib.Path(path).suffix}")
PYTHON
    compare casting --good "$work/casting/good" --bad "$work/casting/bad" -- "$work/casting/test"
else
    echo "== SKIPPED: real castings, because $casting is not here"
fi

"$python" tests/peer/qoperator.py "$outputs" "$work/qoperator"
echo "== onnxruntime agrees"
