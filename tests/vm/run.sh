#!/usr/bin/env bash
# Runs zoomgate for aarch64 in virtual machines that have a camera (vivid) and GPIO lines (gpio-sim), and on the model
# of a Raspberry Pi:
#
#   tests/vm/run.sh [line|disturbed|unguarded|guardian|levels|loaded|doctor|suites|pi]…    (without arguments all of them)
#
#   line       200 parts at 4/s; every reject pulse against the schedule
#   disturbed  in mid-run: a busy line, a step of the clock, the camera unplugged and back, SIGKILL
#   unguarded  the same SIGKILL without the unit's ExecStopPost=: the line must be seen to stay unsafe
#   guardian   SIGKILL, SIGSEGV and SIGABRT in a pulse without any unit: safe by the guardian, until a new start takes over
#   levels     lines that are pulled before the start: the full bin and the recipe's number are known, nothing else happens
#   loaded     strobes and pulses of a belt with an encoder, beside threads that keep the processor busy
#   doctor     all green; without camera, with a held line, without permission: each named with its remedy
#   suites     the project's tests of cameras and of GPIO lines on these devices; CAMERA_TESTS and LIB_TESTS name their
#              aarch64 binaries, and without arguments nothing of it is done where neither is set
#   pi         backend "rppal" on QEMU's raspi3b: a reject pulse on GPIO17 read from outside the machine
#
# ZOOMGATE and PROBE name static aarch64 binaries (target/dist/zoomgate-aarch64, target/dist/probe-aarch64): the program
# with the feature v4l2, and the example `probe`. TEACHER names a zoomgate of this machine (target/release/zoomgate).
# LAB is where the emulator is or is put (target/vm), see setup.sh; PARTS and PERIOD_MS change the belt.
# Logs and records are left in $LAB/out/SCENARIO.
#
# Nothing is tried twice. Where the emulator cannot be installed all is skipped, loudly; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

lab=${LAB:-target/vm}
zoomgate=${ZOOMGATE:-target/dist/zoomgate-aarch64}
probe=${PROBE:-target/dist/probe-aarch64}
teacher=${TEACHER:-target/release/zoomgate}

tests/vm/setup.sh || {
    code=$?
    if [[ $code == 3 && ${CI:-} != true ]]; then
        echo "SKIPPED: virtual machines, because the emulator cannot be installed here: NOTHING WAS TESTED" >&2
        exit 0
    fi
    exit "$code"
}
lab=$(cd "$lab" && pwd)
version=$(cat "$lab/ready")
for binary in "$zoomgate" "$probe" "$teacher"; do
    [[ -x $binary ]] || { echo "$binary is missing: see the head of tests/vm/run.sh" >&2; exit 1; }
done

# The kernel's modules, dependencies first, and a shell: the same for every machine.
base() {
    local root=$lab/base number=100 module path
    [[ -f $lab/base.cpio ]] && return
    rm -rf "$root"
    mkdir -p "$root"/{bin,config,dev,modules,proc,sys,var,etc}
    cp "$lab/busybox/bin/busybox" "$root/bin/"
    for module in vivid configfs virtio_mmio virtio_blk; do
        for path in $(modprobe -d "$lab/kernel" -S "$version" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'); do
            compgen -G "$root/modules/*-${path##*/}" >/dev/null && continue
            number=$((number + 1))
            aarch64-linux-gnu-strip -g -o "$root/modules/$number-${path##*/}" "$path"
        done
    done
    cp "$lab/gpio-sim/gpio-sim.ko" "$root/modules/999-gpio-sim.ko"
    printf 'root:x:0:0::/:/bin/sh\nzoomgate:x:900:900::/var/lib/zoomgate:/bin/false\n' >"$root/etc/passwd"
    printf 'root:x:0:\nvideo:x:44:zoomgate\ngpio:x:901:zoomgate\nzoomgate:x:900:\n' >"$root/etc/group"
    pack "$root" >"$lab/base.cpio"
}

pack() { (cd "$1" && find . | LC_ALL=C sort | cpio -o -H newc --quiet); }

# What is taught is what the camera shows: vivid's colour bars.
recipe() {
    python3 tests/vm/pictures.py "$lab/pictures" 16
    "$teacher" teach --good "$lab/pictures" --size 64 --prototypes 32 --steps 20 --out "$lab/recipe.onnx" 2>"$lab/teach.log" || {
        cat "$lab/teach.log" >&2
        return 1
    }
}

# initrd SCENARIO: the base and what is tested; the kernel takes one archive after the other.
initrd() {
    local root=$lab/root
    rm -rf "$root" "$lab/out/$1"
    mkdir -p "$lab/out/$1"
    mkdir -p "$root"/{guest,etc/zoomgate,usr/local/bin,bin}
    aarch64-linux-gnu-strip -o "$root/usr/local/bin/zoomgate" "$zoomgate"
    aarch64-linux-gnu-strip -o "$root/bin/probe" "$probe"
    ln -s /usr/local/bin/zoomgate "$root/bin/zoomgate"
    cp tests/vm/guest/*.sh systemd/zoomgate.service "$root/guest/"
    install -m 755 tests/vm/guest/init "$root/init"
    cp "$lab/recipe.onnx" tests/vm/{config,levels,loaded}.toml "$root/etc/zoomgate/"
    if [[ $1 == pi ]]; then
        mkdir "$root/etc/zoomgate/pictures"
        cp "$lab"/pictures/0[0-5].png "$root/etc/zoomgate/pictures/"
        cp tests/vm/pi.toml "$root/etc/zoomgate/"
    fi
    if [[ $1 == suites ]]; then
        for name in CAMERA_TESTS LIB_TESTS; do
            [[ -z ${!name:-} ]] || aarch64-linux-gnu-strip -o "$root/guest/${name,,}" "${!name}"
        done
    fi
    { cat "$lab/base.cpio"; pack "$root"; } >"$lab/out/$1/initrd"
}

# How time passes. Where it is measured, it is counted: an instruction is a nanosecond, about what a Cortex-A53 does, and
# a pause takes no time, so that a busy host changes nothing. That needs one processor. Elsewhere several of them run freely.
counted() { [[ $1 != doctor && $1 != pi ]]; }
processor() { if counted "$1"; then echo "-smp 1 -icount shift=0,sleep=off"; else echo "-smp 2 -accel tcg,thread=multi"; fi; }

# virtual SCENARIO: a machine with camera and lines, from start to power off; its records are in $lab/out/SCENARIO.
virtual() {
    local out=$lab/out/$1
    truncate -s 64M "$out/disk"
    timeout 600 "$lab/qemu/usr/bin/qemu-system-aarch64" -L "$lab/qemu/usr/share/qemu" \
        -M virt -cpu cortex-a76 -m 1024 $(processor "$1") -nographic -no-reboot -nic none \
        -drive "if=none,id=disk,format=raw,file=$out/disk" -device virtio-blk-device,drive=disk \
        -kernel "$lab/kernel/boot/vmlinuz-$version" -initrd "$out/initrd" \
        -append "console=ttyAMA0 quiet panic=-1 scenario=$1 PARTS=${PARTS:-200} PERIOD_MS=${PERIOD_MS:-250}" \
        </dev/null >"$out/console" 2>&1 || echo "the emulator ended with $?" >>"$out/console"
    tr -d '\r' <"$out/console" | grep -aE '^guest:|FAILED|panic|emulator ended' || true
    tar -xmf "$out/disk" -C "$out" || echo "FAILED: nothing came back" >>"$out/console"
    if grep -aqE 'FAILED|Kernel panic|emulator ended' "$out/console"; then
        tail -n 30 "$out/console" >&2
        [[ -f $out/daemon.log ]] && tail -n 30 "$out/daemon.log" >&2
        return 1
    fi
    rm "$out/disk"
    python3 tests/vm/judge.py "$1" "$out"
}

scenarios=("$@")
if [[ $# == 0 ]]; then
    scenarios=(line disturbed unguarded guardian levels loaded doctor pi)
    if [[ -n ${CAMERA_TESTS:-}${LIB_TESTS:-} ]]; then scenarios+=(suites); else echo "vm: SKIPPED: suites"; fi
fi
base
recipe
for scenario in "${scenarios[@]}"; do initrd "$scenario"; done

# one SCENARIO: from start to judgement.
one() {
    local start=$SECONDS code=0
    if [[ $1 == pi ]]; then python3 tests/vm/pi.py "$lab" "$lab/out/pi" || code=1; else virtual "$1" || code=1; fi
    rm -f "$lab/out/$1/initrd"
    echo "== $(date +%T) vm: $1 took $((SECONDS - start)) s"
    return $code
}

# Machines whose time is counted take one processor of the host each and do not mind each other; the others come alone.
echo "== $(date +%T) vm: ${scenarios[*]}"
failed=() beside=()
for scenario in "${scenarios[@]}"; do
    if counted "$scenario"; then
        one "$scenario" >"$lab/out/$scenario/log" 2>&1 &
        beside+=("$scenario:$!")
    fi
done
for job in "${beside[@]}"; do
    wait "${job#*:}" || failed+=("${job%:*}")
    echo "== vm: ${job%:*}"
    cat "$lab/out/${job%:*}/log"
done
for scenario in "${scenarios[@]}"; do
    if ! counted "$scenario"; then
        echo "== $(date +%T) vm: $scenario"
        one "$scenario" || failed+=("$scenario")
    fi
done
if [[ ${#failed[@]} -gt 0 ]]; then
    echo "vm: FAILED: ${failed[*]}; logs are in $lab/out" >&2
    exit 1
fi
echo "== vm: all passed: ${scenarios[*]}"
