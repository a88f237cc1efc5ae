#!/usr/bin/env python3
"""Boots QEMU's model of a Raspberry Pi 3 B and watches GPIO17 from outside: pi.py LAB OUT.

`zoomgate run` with the backend "rppal" runs in it (tests/vm/guest/pi.sh) and rejects every part. What the pin does is
read from the machine's physical memory through QEMU's monitor, of which the guest knows nothing. The model cannot be
switched off, so the emulator is ended when the guest says that it is done.
"""

import json
import pathlib
import re
import socket
import subprocess
import sys
import time

# Peripherals manual of the BCM2837, chapter 6: GPFSEL1 has three bits for each of the pins 10 to 19, 1 is an output;
# GPLEV0 has the levels of the pins 0 to 31.
GPFSEL1, GPLEV0 = 0x3F200004, 0x3F200034
PIN = 17
# tests/vm/pi.toml.
WIDTH = 0.300
PULSES = 5
LIMIT = 120


class Monitor:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        print(json.dumps({"execute": command, "arguments": arguments}), file=self.file, flush=True)
        while True:
            answer = json.loads(self.file.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise RuntimeError(answer)

    def word(self, address):
        text = self.ask("human-monitor-command", **{"command-line": f"xp /1wx {address:#x}"})
        return int(re.search(r": (0x[0-9a-f]+)", text)[1], 16)


def start(lab, out):
    version = (lab / "ready").read_text().strip()
    console, monitor = out / "console", out / "monitor"
    command = [lab / "qemu/usr/bin/qemu-system-aarch64", "-L", lab / "qemu/usr/share/qemu", "-M", "raspi3b"]
    command += ["-display", "none", "-monitor", "none", "-serial", f"file:{console}"]
    command += ["-qmp", f"unix:{monitor},server=on,wait=off", "-initrd", out / "initrd"]
    command += ["-kernel", lab / f"kernel/boot/vmlinuz-{version}"]
    command += ["-dtb", lab / f"kernel/usr/lib/linux-image-{version}/broadcom/bcm2837-rpi-3-b.dtb"]
    # Relaxed: rppal maps the registers through /dev/mem, because Debian's kernel has no /dev/gpiomem.
    command += ["-append", "console=ttyAMA0,115200 quiet panic=-1 iomem=relaxed scenario=pi"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    until = time.monotonic() + 10
    while not monitor.exists() and time.monotonic() < until:
        time.sleep(0.05)
    return process, console, Monitor(monitor)


def watch(process, console, monitor):
    """Every change of the pin as (time, level, is an output), until the guest is done."""
    changes, looks, begun = [], 0, time.monotonic()
    known = None
    while process.poll() is None and time.monotonic() - begun < LIMIT:
        level = monitor.word(GPLEV0) >> PIN & 1
        looks += 1
        if level != known:
            is_output = monitor.word(GPFSEL1) >> (PIN - 10) * 3 & 7 == 1
            changes.append((time.monotonic(), level, is_output))
            known = level
        if looks % 100 == 0 and b"guest: scenario pi ended" in console.read_bytes():
            break
        time.sleep(0.002)
    return changes, looks / (time.monotonic() - begun)


def main():
    lab, out = map(pathlib.Path, sys.argv[1:])
    process, console, monitor = start(lab, out)
    try:
        changes, rate = watch(process, console, monitor)
    finally:
        process.kill()
        process.wait()
    text = console.read_text(errors="replace").replace("\r", "")
    print("\n".join(line for line in text.splitlines() if line.startswith("guest:") or "FAILED" in line))
    wrong = []
    rises = [at for at, level, is_output in changes if level == 1 and is_output]
    widths = [b[0] - a[0] for a, b in zip(changes, changes[1:]) if a[1] == 1 and a[2] and b[1] == 0]
    print(f"  GPIO17, read {rate:.0f} times a second from outside: {len(widths)} pulses, widths "
          + ", ".join(f"{width * 1000:.0f}" for width in widths) + " ms")
    fired = re.search(r"pulses (\d+) of (\d+) on time", text)
    if "scenario pi ended" not in text or "FAILED" in text or not fired:
        wrong.append("the guest did not end as it should; see " + str(console))
    elif int(fired[1]) != len(rises) or len(widths) < PULSES:
        wrong.append(f"{len(rises)} pulses were seen, zoomgate fired {fired[1]} of {fired[2]}")
    # The guest's clock is the host's; a busy host stretches what lies between two looks.
    if any(not 0.5 * WIDTH < width < 2 * WIDTH for width in widths):
        wrong.append("a pulse is not as long as it should be")
    if not changes or changes[-1][1] != 0:
        wrong.append("the pin is not low in the end")
    for what in wrong:
        print(f"  WRONG: {what}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


main()
