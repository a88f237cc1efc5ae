#!/usr/bin/env bash
# Runs the test suite on an emulated board's processor, one after another:
#
#   cross/test.sh aarch64|armv7 CPU[:TESTS]…  for instance: cross/test.sh aarch64 cortex-a72 max:nn::
#
# With TESTS only those whose names contain it are run.
# The tests are optimised and static and have cameras as the shipped program has; sums of ours that overflow stop them.
# cross/slow_on_emulator lists what is left out, each test with its reason; everything else runs. Needs qemu-user (cross/setup.sh installs it).
set -euo pipefail
cd "$(dirname "$0")/.."

arch=${1:?usage: cross/test.sh aarch64|armv7 CPU…}
shift
[[ $# -ge 1 ]] || {
    echo "usage: cross/test.sh $arch CPU…" >&2
    exit 2
}
# shellcheck source=cross/toolchain.sh
. cross/toolchain.sh "$arch" static
emulator=qemu-${arch/armv7/arm}
command -v "$emulator" >/dev/null || {
    echo "$emulator is missing: apt-get install qemu-user" >&2
    exit 1
}

skip=()
while read -r name _; do
    [[ -z $name || $name == \#* ]] || skip+=(--skip "$name")
done <cross/slow_on_emulator

tests=("${build[@]}" test --profile checked --features v4l2 --lib --tests --target "$target")
built=$("${tests[@]}" --no-run 2>&1 | tee /dev/stderr)
# What the virtual machines of tests/vm take along.
"${build[@]}" build --profile checked --features v4l2 --example probe --target "$target"
mkdir -p target/dist
cp "$target_dir/$target/checked/examples/probe" "target/dist/probe-$arch"
for suite in 'src/lib.rs:lib-tests' 'tests/camera.rs:camera-tests'; do
    executable=$(sed -n "s|^ *Executable .*${suite%:*} (\(.*\))\$|\1|p" <<<"$built")
    cp "$executable" "target/dist/${suite#*:}-$arch"
done

for each in "$@"; do
    cpu=${each%%:*}
    chosen=(--exact "${skip[@]}")
    if [[ $each == *:* ]]; then
        chosen=("${each#*:}")
        echo "== the tests of ${chosen[0]} on $cpu"
    else
        echo "== the tests on $cpu, $((${#skip[@]} / 2)) left out as slow_on_emulator"
    fi
    # No -L: the program is static, and a second C library beside it would hang its first thread.
    export "CARGO_TARGET_${upper}_RUNNER=$emulator -cpu $cpu" ZOOMGATE_RUNNER="$emulator -cpu $cpu"
    "${tests[@]}" --no-fail-fast -- "${chosen[@]}"
done
