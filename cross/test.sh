#!/usr/bin/env bash
# Runs the test suite on an emulated board's processor, one after another:
#
#   cross/test.sh [--lib|--kernels] aarch64|armv7 [CPU[:TESTS]]…  for instance: cross/test.sh aarch64 cortex-a72 max:nn::
#
# With --lib only unit tests are built and run, and what tests/vm takes along; with --kernels those of the SIMD kernels
# alone, from the package cross/kernels, which compiles in seconds; with TESTS only those whose names contain it are run;
# without a CPU they are built and not run. The tests are built as the shipped program is (profile dist, static, with cameras) and share its crates.
# cross/slow_on_emulator lists what is left out, each test with its reason; everything else runs. Needs qemu-user
# (cross/setup.sh installs it).
set -euo pipefail
cd "$(dirname "$0")/.."

what=(--features v4l2 --lib --tests)
case ${1:-} in
    --lib)
        what=(--features v4l2 --lib --test camera)
        shift
        ;;
    --kernels)
        what=(--package zoomgate-kernels)
        shift
        ;;
esac
[[ $# -ge 1 ]] || {
    echo "usage: cross/test.sh [--lib|--kernels] aarch64|armv7 [CPU[:TESTS]]…" >&2
    exit 2
}
arch=$1
shift
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

tests=("${build[@]}" test --profile dist "${what[@]}" --target "$target")

# What the virtual machines of tests/vm take along.
for_machines() {
    local built=$1 suite executable
    "${build[@]}" build --profile dist --features v4l2 --example probe --target "$target"
    mkdir -p target/dist
    cp "$target_dir/$target/dist/examples/probe" "target/dist/probe-$arch"
    for suite in 'src/lib.rs:lib-tests' 'tests/camera.rs:camera-tests'; do
        executable=$(sed -n "s|^ *Executable .*${suite%:*} (\(.*\))\$|\1|p" <<<"$built")
        cp "$executable" "target/dist/${suite#*:}-$arch"
    done
}

built=$("${tests[@]}" --no-run 2>&1 | tee -a /dev/stderr)
[[ ${what[0]} == --package ]] || for_machines "$built"

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
