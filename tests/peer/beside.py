#!/usr/bin/env python3
"""What a lesson beside a running line costs the line:

    tests/peer/beside.py ZOOMGATE RECIPE GOOD BAD --size WIDTH HEIGHT [--pairs N] [--parts N] [--rate HZ] [--lesson WORDS]

RECIPE runs on the pictures of GOOD as the daemon runs, RATE parts a second on the real clock, alone and beside lessons
of GOOD and BAD that follow each other, in turns. Prints the p99 of an inspection of both in each pair, and the median of
their ratios. WORDS go before ZOOMGATE where it teaches (`--lesson "nice -n 19"`), to compare; environment variables as
`env` takes them. Python's standard library is all that it needs.
"""
import argparse, json, pathlib, shlex, shutil, signal, statistics, subprocess, tempfile, threading

CONFIG = """
[camera]
source = "folder"
folder = "pictures"
width_px = {width}
height_px = {height}
rate_hz = {rate}
[trigger]
source = "every_frame"
[reject]
travel_mm = 400.0
belt_speed_mm_s = 400.0
pulse_width_ms = 20.0
[gpio]
backend = "recorded"
[safety]
on_uninspected = "reject"
on_missed_reject = "alarm"
"""


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("zoomgate", type=pathlib.Path)
    words.add_argument("recipe", type=pathlib.Path)
    words.add_argument("good", type=pathlib.Path)
    words.add_argument("bad", type=pathlib.Path)
    words.add_argument("--size", type=int, nargs=2, required=True)
    words.add_argument("--pairs", type=int, default=5)
    words.add_argument("--parts", type=int, default=400)
    words.add_argument("--rate", type=float, default=20.0)
    words.add_argument("--lesson", default="")
    args = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        prepare(args, folder)
        ratios = []
        for pair in range(args.pairs):
            # The first of a pair in turns, so that neither always meets a cold machine.
            times = {}
            for lesson in ([False, True], [True, False])[pair % 2]:
                times[lesson] = p99(args, folder, lesson)
            ratios.append(times[True] / times[False])
            print(f"pair {pair + 1}: p99 {times[False]:.2f} ms alone, {times[True]:.2f} ms beside a lesson, "
                  f"{ratios[-1]:.2f} times", flush=True)
        print(f"median of {len(ratios)} pairs: {statistics.median(ratios):.3f} times")


def prepare(args, folder):
    width, height = args.size
    (folder / "config.toml").write_text(CONFIG.format(width=width, height=height, rate=args.rate))
    shutil.copy(args.recipe, folder / "recipe.onnx")
    (folder / "pictures").mkdir()
    pictures = sorted(p for p in args.good.iterdir() if p.is_file())
    for part in range(args.parts):
        picture = pictures[part % len(pictures)]
        shutil.copy(picture, folder / "pictures" / f"{part:05}{picture.suffix}")


def p99(args, folder, beside):
    over = threading.Event()
    teaching = threading.Thread(target=teach, args=(args, folder, over))
    if beside:
        teaching.start()
    try:
        run = [args.zoomgate.resolve(), "run", "--json", "--config", folder / "config.toml"]
        out = subprocess.run(run, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    finally:
        over.set()
        if beside:
            teaching.join()
    summary = json.loads(out)
    assert summary["parts"] == args.parts and summary["uninspected"] < args.parts / 2, summary
    return summary["latency_ms"]["by_stage"]["inspect"]["p99"]


def teach(args, folder, over):
    """Lesson after lesson, until the line has ended."""
    command = shlex.split(args.lesson) + [args.zoomgate.resolve(), "teach", "--json", "--good", args.good, "--bad", args.bad,
                                          "--out", folder / "lesson.onnx"]
    while not over.is_set():
        lesson = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while lesson.poll() is None:
            if over.wait(0.05):
                lesson.send_signal(signal.SIGKILL)
        lesson.wait()


main()
