"""Runs a recipe in onnxruntime and compares every score with zoomgate's own.

    onnxruntime.py RECIPE DUMP [--pictures-min N]

RECIPE is a file from `zoomgate teach`, DUMP a folder from `zoomgate inspect --recipe RECIPE --dump-inputs DUMP …`.
The model inputs come from DUMP; every score is rebuilt from the graph's outputs and the constants in the recipe's
notes, by the formulas of src/inspect/recipe.rs. Exit code 0 when

- every view's score and the fused score is within 1 % of the range that zoomgate's have over the pictures,
- no verdict differs whose score is further than 1 % of the threshold away from it,
- there are enough pictures, and neither all pass nor all are rejected (or the line above would prove little),
- the file passes onnx's checker with strict shape inference.

Printed beside them: the raw evidences, and how far onnxruntime is from itself when it runs the same file without its
optimisations. That is what rounding alone makes of an int8 graph, and no runtime can be asked for less.
"""

import argparse
import json
import sys
from pathlib import Path

# This file has the name of the package it needs: its own folder must not be searched for it.
sys.path = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]

import numpy
import onnx
import onnxruntime

SHARE = 0.01


def standard(constants, value):
    return (value - constants["mean"]) / constants["std"]


def weighted(view, evidence):
    parts = [part for part in (view["normality"], view["known"], view["overall"]) if part]
    if len(parts) != len(evidence):
        sys.exit(f"the graph gives {len(evidence)} evidences and the notes have constants for {len(parts)}")
    return sum(p["weight"] * standard(p["image"], e) for p, e in zip(parts, evidence))


class Peer:
    """The recipe in onnxruntime."""

    def __init__(self, path, is_optimised):
        options = onnxruntime.SessionOptions()
        if not is_optimised:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Without it, processors that lack VNNI add u8 x i8 products in 16 bits, which saturates: that would compare
        # our arithmetic with a shortcut of theirs.
        options.add_session_config_entry("session.x64quantprecision", "1")
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.notes = json.loads(self.session.get_modelmeta().custom_metadata_map["zoomgate"])

    def evidence(self, view, pixels, at=(0, 0)):
        inputs = {"image": pixels, "zoom_at": numpy.array(at, numpy.int64)}
        inputs = {i.name: inputs[i.name] for i in self.session.get_inputs()}
        return self.session.run([f"{view}_score"], inputs)[0].reshape(-1).astype(float).tolist()

    def inspect(self, full, zooms, places):
        """Every figure of one picture by name, from its model inputs."""
        notes = self.notes
        full = self.evidence("full", full)
        zooms = [self.evidence("zoom", pixels, at) for pixels, at in zip(zooms, places)]
        best = max(zooms, key=lambda e: weighted(notes["zoom"], e))
        sums = weighted(notes["full"], full), weighted(notes["zoom"], best)
        return {
            "score": standard(notes["fused"], sum(sums)),
            "score_full": standard(notes["full"]["sum"], sums[0]),
            "score_zoom": standard(notes["zoom"]["sum"], sums[1]),
            **{f"full evidence {i}": e for i, e in enumerate(full)},
            **{f"zoom evidence {i}": e for i, e in enumerate(best)},
        }


def ours(line):
    best = line["evidence_zoom"][0]
    return {
        **{key: line[key] for key in ("score", "score_full", "score_zoom")},
        **{f"full evidence {i}": e for i, e in enumerate(line["evidence_full"])},
        **{f"zoom evidence {i}": e for i, e in enumerate(best)},
    }


def check_file(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    opset = next(o.version for o in model.opset_import if o.domain == "")
    print(f"{path}: {len(model.graph.node)} nodes, opset {opset}, passes onnx {onnx.__version__}'s checker")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("dump", type=Path)
    parser.add_argument("--pictures-min", type=int, default=50)
    args = parser.parse_args()

    check_file(args.recipe)
    peers = [Peer(args.recipe, is_optimised) for is_optimised in (True, False)]
    lines = [json.loads(line) for line in (args.dump / "dump.jsonl").read_text().splitlines()]
    theirs, plain, faults = [], [], []
    for line in lines:
        full, *zooms = [numpy.load(args.dump / name) for name in [line["inputs"]["full"], *line["inputs"]["zoom"]]]
        for peer, results in zip(peers, (theirs, plain)):
            results.append(peer.inspect(full, zooms, line["inputs"]["zoom_at"]))
    if len(lines) < args.pictures_min:
        faults.append(f"{len(lines)} pictures are fewer than {args.pictures_min}")

    own = [ours(line) for line in lines]
    print("figure             largest difference   of the range   their own")
    for name in own[0] if own else []:
        mine, optimised, unoptimised = (numpy.array([r[name] for r in results]) for results in (own, theirs, plain))
        spread = numpy.ptp(mine) or numpy.finfo(float).tiny
        off = numpy.abs(mine - optimised)
        worst = int(off.argmax())
        share, itself = off[worst] / spread, numpy.abs(optimised - unoptimised).max() / spread
        print(f"{name:18} {off[worst]:18.2e} {share:14.3%} {itself:11.3%}   {lines[worst]['file']}")
        if name.startswith("score") and not share <= SHARE:
            faults.append(f"{name} differs by {share:.2%} of its range in {lines[worst]['file']}")

    flips = near = 0
    for line, their in zip(lines, theirs):
        threshold = line["threshold"]
        if (their["score"] >= threshold) != (line["verdict"] == "reject"):
            is_near = abs(line["score"] - threshold) <= SHARE * abs(threshold)
            near += is_near
            if not is_near:
                flips += 1
                faults.append(f"{line['file']}: {line['verdict']} at {line['score']:.4f}, theirs {their['score']:.4f}")
    rejects = sum(line["verdict"] == "reject" for line in lines)
    print(f"{len(lines)} pictures, {rejects} rejected by us; verdicts flipped: {flips}, and {near} within 1 % of the threshold")
    if not 0 < rejects < len(lines):
        faults.append(f"{rejects} of {len(lines)} pictures are rejected: choose pictures of both kinds")

    for fault in faults:
        print(f"FAILED: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
