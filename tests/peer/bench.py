"""Times the same files in zoomgate and in its peers, in turn and on one thread each.

    bench.py ZOOMGATE MODELS RECIPE [--rounds N] [--runs N] [--only NAME]

ZOOMGATE is the program, MODELS a folder from models.py, RECIPE a file from `zoomgate teach`. In every round each engine
runs each file a few times, so that whatever else the machine does falls on all of them; a figure is the median over
rounds of the medians of each round, beside the quartiles and the least. Of a recipe each pass is timed: peers get it as a
file with that pass's outputs alone, and without what the recipe keeps of its lesson. Prints a table in Markdown.

Peers are onnxruntime (one thread, sequential, all optimisations), with the float file and the quantised one, and OpenVINO
with the quantised one where it can be imported (one thread, one stream, f32 where it has a choice). On a processor without
VNNI onnxruntime adds products of bytes in 16 bits, which saturates; there it runs a second time with exact sums, as ours
are.
"""

import argparse
import datetime
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# A file of this folder has the name of a package.
sys.path = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]

import numpy
import onnx
import onnxruntime

try:
    import openvino
except ImportError:
    openvino = None

KEEPSAKE = "zoomgate.keepsake"
FLAGS = ["avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8",
         "neon", "asimd", "asimddp", "i8mm", "sve"]


def processor():
    """Its name, and its features."""
    lines = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
    facts = {key.strip(): value.strip() for key, value in lines}
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return facts.get("model name") or platform.machine(), flags


def described():
    """The processor, with those of its features that matter here."""
    name, flags = processor()
    amx = "AMX usable" if "amx_int8" in flags else "no AMX"
    return f"{name}: {' '.join(f for f in FLAGS if f in flags)}; {amx}"


def extract(model, view, target):
    """Writes one pass of a recipe as a file of its own."""
    wanted = {f"{view}_map", f"{view}_score"}
    maker = {output: node for node in model.graph.node for output in node.output}
    needed, waiting = set(), list(wanted)
    while waiting:
        tensor = waiting.pop()
        if tensor not in needed:
            needed.add(tensor)
            waiting += maker[tensor].input if tensor in maker else []
    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    del graph.input[:], graph.node[:], graph.output[:], graph.initializer[:], graph.value_info[:], part.metadata_props[:]
    graph.node.extend(n for n in model.graph.node if needed.intersection(n.output))
    graph.input.extend(i for i in model.graph.input if i.name in needed)
    graph.output.extend(o for o in model.graph.output if o.name in wanted)
    graph.initializer.extend(t for t in model.graph.initializer if t.name in needed and t.name != KEEPSAKE)
    onnx.save(part, target)


def timed(run, runs):
    """Median of a few runs, in ms, after two to warm up, as zoomgate does."""
    times = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(numpy.median(times[2:])) * 1e3


def value(rank, picture):
    """What an input of this rank gets: a picture, or where a crop begins, which is anywhere."""
    return picture if rank == 4 else numpy.array([4, 6])


def saturates():
    """Whether onnxruntime adds products of u8 and i8 in 16 bits here."""
    _, flags = processor()
    return "avx2" in flags and not {"avx_vnni", "avx512_vnni"}.intersection(flags)


def in_onnxruntime(path, picture, is_exact=False):
    options = onnxruntime.SessionOptions()
    if is_exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {i.name: value(len(i.shape), picture) for i in session.get_inputs()}
    return lambda: session.run(None, inputs)


def in_openvino(path, picture):
    how = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    model = core.read_model(str(path))
    inputs = {i.get_any_name(): value(len(i.partial_shape), picture) for i in model.inputs}
    model.reshape({name: list(value.shape) for name, value in inputs.items()})
    request = core.compile_model(model, "CPU", how).create_infer_request()
    return lambda: request.infer(inputs)


class Case:
    """A file for zoomgate, and what peers run for each of its passes."""

    def __init__(self, name, file, passes, shape, dtype):
        self.name, self.file = name, file
        picture = numpy.random.default_rng(1).integers(0, 256, shape).astype(dtype)
        self.peers, self.times, self.said = {}, {}, {}
        for name, (floats, quantised) in passes.items():
            peers = {"onnxruntime int8": in_onnxruntime(quantised, picture)}
            if saturates():
                peers["onnxruntime int8, exact sums"] = in_onnxruntime(quantised, picture, is_exact=True)
            if floats:
                peers["onnxruntime f32"] = in_onnxruntime(floats, picture)
            if openvino:
                peers["OpenVINO int8"] = in_openvino(quantised, picture)
            self.peers[name] = peers

    def round(self, zoomgate, runs):
        for engine, title in [("int8", "zoomgate"), ("stock", "tract int8, without our operators")]:
            command = [zoomgate, "bench", self.file, "--json", "--engine", engine, "--runs", str(runs)]
            said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for found in said["passes"]:
                self.note(found["name"], title, found["median_ms"])
                if engine == "int8":
                    self.said[found["name"]] = {**found, "isa": said["isa"]}
        for name, peers in self.peers.items():
            for peer, run in peers.items():
                self.note(name, peer, timed(run, runs))

    def note(self, name, engine, ms):
        self.times.setdefault(name, {}).setdefault(engine, []).append(ms)

    def print(self):
        for name, engines in self.times.items():
            said = self.said[name]
            title = self.name if len(self.times) == 1 else f"{self.name}, {name}"
            share = said["int8_macs"] / max(said["macs"], 1)
            title += f" ({said['macs'] / 1e6:,.0f} M, {share:.1%} in ours)"
            ours = float(numpy.median(engines["zoomgate"]))
            for engine, times in engines.items():
                low, middle, high = numpy.quantile(times, [0.25, 0.5, 0.75])
                print(f"| {title} | {engine} | {middle:.2f} | {low:.2f} to {high:.2f} | {min(times):.2f} | {middle / ours:.2f} |")
                title = ""


def cases(args, folder):
    for name in ("resnet18", "mobilenetv2", "resnext"):
        files = args.models / f"{name}.onnx", args.models / f"{name}-int8.onnx"
        yield name, lambda: Case(name, files[1], {"model": files}, [1, 3, 224, 224], numpy.float32)
    recipe = onnx.load(args.recipe)
    notes = json.loads(next(p.value for p in recipe.metadata_props if p.key == "zoomgate"))
    passes = {}
    for view in ("full", "zoom"):
        extract(recipe, view, folder / f"{view}.onnx")
        passes[view] = None, folder / f"{view}.onnx"
    height, width = notes["input"]["height"], notes["input"]["width"]
    name = f"recipe at {width} x {height}"
    yield "recipe", lambda: Case(name, args.recipe, passes, [1, 3, height, width], numpy.uint8)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("zoomgate", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", choices=["resnet18", "mobilenetv2", "resnext", "recipe"])
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        found = [make() for name, make in cases(args, Path(folder)) if args.only in (None, name)]
        for _ in range(args.rounds):
            for case in found:
                case.round(args.zoomgate, args.runs)
    isa = next(iter(found[0].said.values()))["isa"]
    versions = f"onnxruntime {onnxruntime.__version__}"
    versions += f", OpenVINO {openvino.__version__.split('-')[0]}" if openvino else "; OpenVINO cannot be imported"
    print(f"{datetime.date.today()}, {described()}. zoomgate for {isa}; {versions}.")
    print(f"One thread; {args.rounds} rounds of {args.runs} runs, in turn; ms.\n")
    print("| model (multiplications) | engine | median | quartiles | least | times zoomgate's |")
    print("|---|---|---|---|---|---|")
    for case in found:
        case.print()


if __name__ == "__main__":
    main()
