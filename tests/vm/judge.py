#!/usr/bin/env python3
"""Judges what a virtual machine brought back: judge.py SCENARIO FOLDER. Prints figures; exits 1 with what is wrong.

`lines`, `belt` and `marks` are the observations of tests/vm/probe.rs, `events.jsonl` is the daemon's own record; both
count nanoseconds of the machine's CLOCK_MONOTONIC.
"""

import bisect
import functools
import json
import pathlib
import sys

MS = 1_000_000
# tests/vm/config.toml and the defaults that it leaves.
TRAVEL = 1000 * MS
LATENCY = 10 * MS
WIDTH = 50 * MS
WINDOW = 20 * MS
# Pulses start so soon after their instant: 0.2 ms were measured, and half a millisecond may pass until one is seen.
JITTER = 2 * MS
# A light that follows an edge at once is seen so soon after it beside any load, and an encoder's pulse is so long.
HEARD = 1 * MS
ENCODER = 4 * MS
# The line must be safe so soon after SIGKILL.
SAFE_WITHIN = 100 * MS
# Between a guardian and the next daemon nobody drives the line for so long at most.
HANDED_OVER_WITHIN = 10 * MS
# A camera must be back so soon after it was plugged in.
BACK_WITHIN = 2000 * MS

wrong = []


def check(holds, what):
    if not holds:
        wrong.append(what)
    return holds


def ms(ns):
    return f"{ns / MS:.2f} ms"


def spread(values):
    """What a list of durations looks like."""
    values = sorted(values)
    at = lambda share: values[min(len(values) - 1, int(share * len(values)))]
    return f"p50 {ms(at(0.5))}, p99 {ms(at(0.99))}, max {ms(values[-1])}" if values else "none"


class Records:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.marks = {}
        for at, what in self.observations("marks"):
            self.marks.setdefault(what.removeprefix("mark "), at)
        # A rise and a fall lie after the second instant and at the first at the latest.
        self.edges, self.looks = {}, None
        for at, what in self.observations("lines"):
            word, *rest = what.split()
            if word == "edge":
                self.edges.setdefault(rest[0], []).append((at, int(rest[1]), int(rest[2])))
            elif word == "looks":
                self.looks = (int(rest[0]), int(rest[1]))
        self.parts = []
        self.strobes = []
        for at, what in self.observations("belt"):
            word, number, *rest = what.split()
            if word == "strobe":
                self.strobes.append((at, int(rest[0]), int(rest[1])))
            else:
                self.parts.append((at, int(rest[1]), rest[0], int(number)))
        events = self.folder / "events.jsonl"
        self.events = [json.loads(line) for line in events.read_text().splitlines()] if events.exists() else []
        self.verdicts = [e for e in self.events if e["event"] == "verdict"]

    def observations(self, name):
        path = self.folder / name
        for line in path.read_text().splitlines() if path.exists() else []:
            at, what = line.split(" ", 1)
            yield int(at), what

    def faults(self, code):
        return [e for e in self.events if e["event"] == "fault" and e["code"] == code]

    def pulses(self, name="reject"):
        """Each pulse as (not before, seen, width)."""
        pulses, rise = [], None
        for at, level, last in self.edges.get(name, []):
            if level == 1:
                rise = (last, at)
            elif rise:
                pulses.append((*rise, at - rise[1]))
                rise = None
        return pulses


def verdict_of(records, part):
    """The verdicts whose trigger is this part's edge."""
    before, after, _, _ = part
    # The interrupt comes when the simulator has been written to, or a moment later.
    return [v for v in records.verdicts if before <= v["trigger_ns"] <= after + 2 * MS]


def pulses_follow_the_schedule(records, parts, pulses):
    """Every part that is to be rejected has its pulse, and there are no others."""
    lateness, widths, unsureness = [], [], []
    rises = [seen for _, seen, _ in pulses]
    used = set()
    for part in parts:
        found = verdict_of(records, part)
        if not check(len(found) == 1, f"part {part[3]}: {len(found)} verdicts"):
            continue
        verdict = found[0]
        if verdict["verdict"] == "pass":
            check(verdict["pulse"] is None, f"part {part[3]} passes with a pulse: {verdict}")
            continue
        check(verdict["pulse"] == "fired", f"part {part[3]}: its pulse is {verdict['pulse']}")
        # The photo-eye was covered between two instants; the pulse is due that long after each.
        first, last = part[0] + TRAVEL - LATENCY, part[1] + TRAVEL - LATENCY
        at = bisect.bisect_left(rises, first)
        if not check(at < len(pulses) and pulses[at][1] <= last + 2 * WINDOW, f"part {part[3]}: no pulse at its time"):
            continue
        check(at not in used, f"part {part[3]} shares its pulse")
        used.add(at)
        not_before, seen, width = pulses[at]
        lateness.append(seen - first)
        widths.append(abs(width - WIDTH))
        unsureness.append(seen - not_before)
    extra = [rises[i] for i in range(len(pulses)) if i not in used]
    check(not extra, f"{len(extra)} pulses without a reject, the first at {extra[:1]}")
    print(f"  pulses: {len(used)}; after their instant: {spread(lateness)}")
    print(f"  width off 50 ms by: {spread(widths)}; an edge is known to: {spread(unsureness)}")
    check(all(late <= JITTER for late in lateness), "a pulse starts too late")
    check(all(off <= JITTER for off in widths), "a pulse is not as long as it should be")
    return len(used)


def line(records):
    parts, verdicts = records.parts, records.verdicts
    counts = {word: sum(v["verdict"] == word for v in verdicts) for word in ("pass", "reject", "uninspected")}
    wanted = {word: sum(p[2] == looks for p in parts) for word, looks in (("pass", "good"), ("reject", "bad"))}
    print(f"  {len(parts)} parts, shown good {wanted['pass']}, bad {wanted['reject']}; verdicts {counts}")
    check(len(verdicts) == len(parts) > 0, f"{len(verdicts)} verdicts for {len(parts)} parts")
    check(counts["uninspected"] == 0, f"uninspected: {sorted({v['reason'] for v in verdicts if v['reason']})}")
    for part in parts:
        words = [v["verdict"] for v in verdict_of(records, part)]
        check(words == [{"good": "pass", "bad": "reject"}.get(part[2])], f"part {part[3]}, {part[2]}, is {words}")
    fired = pulses_follow_the_schedule(records, parts, records.pulses())
    check(fired > 50, f"only {fired} pulses")
    check(not records.edges.get("fault"), "the fault output moved")
    looks, longest = records.looks
    print(f"  the lines were looked at {looks} times, at the longest after {ms(longest)}")


def until_safe(records):
    """How long after SIGKILL the reject line was at its safe level, low, and how long it stayed; None if it was not."""
    killed = records.marks["killed"]
    edges = [edge for edge in records.edges["reject"] if edge[0] > killed]
    check(edges and edges[0][1] == 1, "the line did not fall back to its pull: the simulator is not what was thought")
    fall = next((edge[0] for edge in edges if edge[1] == 0), None)
    rise = next((edge[0] for edge in edges if fall and edge[0] > fall and edge[1] == 1), None)
    return fall and fall - killed, rise and rise - fall


def disturbed(records):
    marks = records.marks
    refusal = (records.folder / "hold").read_text()
    check("refused" in refusal and "16" in refusal, f"another program was not refused with EBUSY: {refusal}")
    clock = (records.folder / "clock").read_text().split("\n")
    print(f"  another program: {refusal.split(' ', 1)[1].strip()}; clock: {clock[0]} -> {clock[1]}")

    # Until the kill, less what was still on the belt then.
    settled = [p for p in records.parts if p[1] + TRAVEL + WINDOW + WIDTH < marks["killed"]]
    pulses = [p for p in records.pulses() if p[1] + p[2] < marks["killed"] and p[1] < settled[-1][0] + TRAVEL + WINDOW]
    pulses_follow_the_schedule(records, settled, pulses)
    afterwards = [p for p in records.parts if p[0] > marks["restarted"]]
    check(len(afterwards) > 10, f"only {len(afterwards)} parts after the restart")
    # When the daemon has ended its lines are nobody's for a moment.
    stopped = next(e["t_ns"] for e in records.events if e["event"] == "stop")
    pulses = [p for p in records.pulses() if p[1] > afterwards[0][0] + TRAVEL - LATENCY and p[1] + p[2] < stopped]
    pulses_follow_the_schedule(records, afterwards, pulses)
    starts = [e for e in records.events if e["event"] == "start"]
    check(len(starts) == 2, f"{len(starts)} starts")

    word = lambda part: next((v["verdict"] + (f" ({v['reason']})" if v["reason"] else "") for v in verdict_of(records, part)), None)
    before = [word(p) for p in settled if p[1] < marks["unplugged"] - 100 * MS]
    check(all(w in ("pass", "reject") for w in before), f"before the camera was unplugged: {before}")
    # A frame that was on its way may still have met its part.
    gone = [word(p) for p in settled if marks["unplugged"] + 100 * MS < p[0] < marks["plugged"]]
    check(len(gone) > 5 and all(w == "uninspected (no_frame)" for w in gone), f"without a camera: {gone}")
    back = next((p for p in settled if p[0] > marks["plugged"] and word(p) in ("pass", "reject")), None)
    if check(back, "the camera did not come back"):
        took = back[0] - marks["plugged"]
        print(f"  unplugged: {len(gone)} parts without a frame; the first part inspected {ms(took)} after the replug")
        check(took <= BACK_WITHIN, f"the camera was back after {ms(took)}")
        rest = [word(p) for p in settled if p[0] > back[0]]
        check(all(w in ("pass", "reject") for w in rest), f"after the camera was back: {rest}")
    said = [f for f in records.faults("CAM-02") if marks["unplugged"] <= f["t_ns"] < marks["plugged"]]
    raised = [e[0] for e in records.edges.get("fault", []) if e[1] == 1 and marks["unplugged"] <= e[0] < marks["plugged"]]
    if check(said, "no CAM-02 in the events") and check(raised, "the fault output was not raised"):
        print(f"  CAM-02 after {ms(said[0]['t_ns'] - marks['unplugged'])}: {said[0]['message']}")
        print(f"  fault output after {ms(raised[0] - marks['unplugged'])}")
    gains = []
    for name in ("before.json", "after.json"):
        cameras = json.loads((records.folder / name).read_text())["cameras"]
        gains.append([c["value"] for camera in cameras for c in camera["controls"] if c["name"] == "Gain"])
    check(gains[0] == gains[1] == [70], f"[camera] gain = 70 is {gains[0]}, after the replug {gains[1]}")

    safe, held = until_safe(records)
    if check(safe, "the reject line was never safe after SIGKILL"):
        print(f"  SIGKILL: safe after {ms(safe)}, held for {ms(held) if held else 'ever'}; then the board's resistor's affair")
        check(safe <= SAFE_WITHIN, f"safe after {ms(safe)}")


def unguarded(records):
    safe, _ = until_safe(records)
    print(f"  SIGKILL without ExecStopPost=: {'safe after ' + ms(safe) if safe else 'never safe'}, by the restart")
    check(not safe or safe > 5 * SAFE_WITHIN, "the line is safe without ExecStopPost=: the other test proves nothing")


def guardian(records):
    """Each death in a pulse: safe soon, until the next start takes over, which leaves the line to its pull for a moment."""
    edges = records.edges["reject"]
    for signal in ("KILL", "SEGV", "ABRT"):
        died, restart = records.marks[f"death {signal}"], records.marks[f"restart {signal}"]
        before = [edge for edge in edges if edge[0] <= died]
        check(before and before[-1][1] == 1, f"{signal}: it did not come in a pulse")
        fall = next((edge[0] for edge in edges if edge[0] > died and edge[1] == 0), None)
        if not check(fall, f"{signal}: the line was never safe"):
            continue
        check(fall - died <= SAFE_WITHIN, f"{signal}: safe after {ms(fall - died)}")
        unsafe = [edge for edge in edges if fall < edge[0] < restart and edge[1] == 1]
        check(not unsafe, f"{signal}: the line did not stay safe: {unsafe}")
        holders = [line["consumer"] for chip in json.loads((records.folder / f"{signal}.json").read_text())["gpio"]
                   for line in chip["lines"] if line["name"] == "reject"]
        check(holders and holders[0].startswith("zoomgate guardian "), f"{signal}: the reject line is held by {holders}")
        # From the guardian's hand to the next daemon's: until that one is ready it fires nothing.
        ready = next((edge[0] for edge in records.edges["ready"] if edge[0] > restart and edge[1] == 1), None)
        gaps = [edge for edge in edges if restart < edge[0] < (ready or restart) and edge[1] == 1]
        ends = [next(later[0] for later in edges if later[0] > gap[0]) - gap[0] for gap in gaps]
        check(ready, f"{signal}: no start afterwards")
        check(len(gaps) <= 1 and all(gap <= HANDED_OVER_WITHIN for gap in ends), f"{signal}: undriven for {ends}")
        print(f"  SIG{signal}: safe after {ms(fall - died)}, held for {ms(restart - fall)} by {holders[0]}; "
              f"taken over in {ms(ends[0]) if ends else 'less than a look'}")
    check(records.edges["reject"][-1][0] > records.marks["restarted"] - 1000 * MS, "the last daemon fired nothing")
    left = [line for line in (records.folder / "ps").read_text().splitlines() if "guardian" in line and "guest" not in line]
    check(not left, f"a guardian is left after an orderly end: {left}")


def levels(records):
    full = records.faults("BIN-01")
    check(len(full) == 1, f"a bin that is full at the start: {len(full)} times BIN-01")
    numbers = [e["number"] for e in records.events if e["event"] == "recipe_selected"]
    check(numbers == [5], f"switches that are at 5 at the start read {numbers}")
    check(not records.verdicts, f"a part that lies in front of the eye came: {records.verdicts[:1]}")
    pressed = [e for e in records.events if e["event"] == "acknowledged"]
    check(not pressed, "a button that is held at the start was pressed")
    if full and numbers:
        start = next(e["t_ns"] for e in records.events if e["event"] == "start")
        print(f"  BIN-01 {ms(full[0]['t_ns'] - start)} after the start, recipe number {numbers[0]}")


def loaded(records):
    strobes = [lit - before for before, _, lit in records.strobes]
    print(f"  {len(strobes)} strobes, after their edge: {spread(strobes)}")
    check(len(strobes) > 50, "too few strobes")
    rises = [seen for _, seen, _ in records.pulses()]
    lateness = []
    for before, after, _ in records.strobes:
        at = bisect.bisect_left(rises, before + TRAVEL - LATENCY - ENCODER)
        if check(at < len(rises) and rises[at] <= after + TRAVEL - LATENCY + WINDOW + ENCODER, "a part without its pulse"):
            lateness.append(rises[at] - (before + TRAVEL - LATENCY))
    print(f"  {len(lateness)} pulses, after their instant on an even belt: {spread(lateness)}")
    check(all(late <= HEARD for late in strobes), "a strobe comes too late")
    check(not records.faults("ENC-03"), "edges of the encoder were lost")


def doctor(records):
    @functools.cache
    def findings(name):
        report = json.loads((records.folder / f"{name}.json").read_text())
        code = int((records.folder / f"{name}.code").read_text())
        check(report["ok"] == (code == 0), f"{name}: exit code {code}")
        bad = {c["name"]: c for c in report["checks"] if c["outcome"] != "ok"}
        for c in bad.values():
            print(f"  {name}: {c['outcome']} {c['name']}: {c['message']}: {c['remedy']}")
        return bad

    green = findings("green")
    check(not green, f"not all green: {list(green)}")
    print("  green: all checks are ok")
    for name, subject, words, remedy in (
        ("held", "outputs", "reject is held by `other-program`", "end that program"),
        ("placed", "outputs", ":1 is held by `other-program`", "end that program"),
        ("denied", "devices", "may not be opened by this account", "usermod -aG video"),
        ("denied", "outputs", "may not be opened by this account", "usermod -aG gpio"),
        ("denied", "camera", "no camera that can be opened", "the group `video`"),
        ("unplugged", "camera", "there is no camera", "plug it in"),
    ):
        bad = findings(name).get(subject)
        if check(bad and bad["outcome"] == "fail", f"{name}: {subject} does not fail"):
            check(words in bad["message"] and remedy in bad["remedy"], f"{name}: {bad}")
    said = (records.folder / "run.log").read_text()
    check("held by `other-program`" in said, f"run with a held line: {said}")
    check((records.folder / "run.code").read_text().strip() == "1", "run with a held line does not fail")


def suites(records):
    for name in ("camera_tests", "lib_tests"):
        path = records.folder / name
        said = path.read_text() if path.exists() else ""
        check("SKIPPED" not in said, f"{name} skipped what it was brought here for; see {path}")


def main():
    scenario, folder = sys.argv[1:]
    judges = {f.__name__: f for f in (line, disturbed, unguarded, guardian, levels, loaded, doctor, suites)}
    judges[scenario](Records(folder))
    for what in wrong[:20]:
        print(f"  WRONG: {what}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


main()
