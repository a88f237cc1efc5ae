#!/usr/bin/env bash
# Counts the instructions of an inference on emulated boards' processors, with our int8 operators and without:
#
#   cross/bench-arm.sh [CPU…]          for instance, and by default: cross/bench-arm.sh cortex-a72 cortex-a76 max
#
# An inference is what 2N runs take more than N, divided by N. They are instructions and not cycles: neither cache misses
# nor stalls, so that figures compare operators on one processor and say little about another. Wants the models and the
# recipe that tests/peer/speed.sh makes, gcc and qemu-user. ZOOMGATE names another aarch64 program, built as it is here, and
# BENCH_RUNS is N. Floats are emulated slowly: some minutes for each processor. Prints a table in Markdown; in its last rows
# are models of one kind of layer, for what each kernel takes.
set -euo pipefail
cd "$(dirname "$0")/.."

cpus=("$@")
[[ $# -gt 0 ]] || cpus=(cortex-a72 cortex-a76 max)
runs=${BENCH_RUNS:-1}
emulator=qemu-aarch64
command -v "$emulator" >/dev/null || {
    echo "$emulator is missing: apt-get install qemu-user" >&2
    exit 1
}

models=target/peer-speed
files=("$models/recipe.onnx:full")
for name in mobilenetv2 resnet18 dense3x3 pointwise depthwise3x3; do
    files+=("$models/models/$name-int8.onnx:model")
done
for file in "${files[@]}"; do
    [[ -f ${file%:*} ]] || {
        echo "${file%:*} is missing: tests/peer/speed.sh makes it" >&2
        exit 1
    }
done

program=${ZOOMGATE:-}
if [[ -z $program ]]; then
    # shellcheck source=cross/toolchain.sh
    . cross/toolchain.sh aarch64 static
    # A release has tract compiled small, since hardly anything runs in it; here it is a peer.
    "${build[@]}" build --release --features v4l2 --bin zoomgate --target "$target" \
        --config profile.release.package.tract-core.opt-level=3 \
        --config profile.release.package.tract-data.opt-level=3 >&2
    program=$target_dir/$target/release/zoomgate
fi

work=target/bench-arm
mkdir -p "$work"
gcc -O2 -Wall -Wextra -shared -fPIC cross/insncount.c -o "$work/libinsncount.so"

# count CPU N ARGUMENTS…: instructions of the program with N runs. One thread, so that the plain counter serves.
count() {
    local cpu=$1 n=$2
    shift 2
    env -i INSN_OUT="$work/count" RAYON_NUM_THREADS=1 "$emulator" -cpu "$cpu" -d plugin -plugin "$work/libinsncount.so" \
        "$program" bench "$@" --plain --runs "$n" >&2
    cat "$work/count"
}

# inference CPU ARGUMENTS…: instructions of one inference.
inference() {
    local cpu=$1 once twice
    shift
    once=$(count "$cpu" "$runs" "$@")
    twice=$(count "$cpu" $((2 * runs)) "$@")
    echo $(((twice - once) / runs))
}

# number NAME: the first value of a key in the report on stdin.
number() { sed -n "s/.*\"$1\": *\"\{0,1\}\([a-z0-9]*\).*/\1/p" | head -1; }

echo "$(date +%F), $($emulator --version | head -1), $runs and $((2 * runs)) runs."
echo
echo "| processor | operators | model (multiplications) | instructions, ours | multiplications an instruction | without | times ours |"
echo "|---|---|---|---|---|---|---|"
declare -A macs
for cpu in "${cpus[@]}"; do
    isa=
    for file in "${files[@]}"; do
        pass=${file#*:} path=${file%:*}
        name=$(basename "$path" .onnx)
        [[ $pass == model ]] || name="$name, $pass"
        # The report costs a few inferences: once for each processor and each model.
        if [[ -z $isa || -z ${macs[$name]:-} ]]; then
            said=$("$emulator" -cpu "$cpu" "$program" bench "$path" --pass "$pass" --runs 1 --json)
            isa=$(number isa <<<"$said")
            macs[$name]=$(sed 's/"nodes".*//' <<<"$said" | number int8_macs)
        fi
        ours=$(inference "$cpu" "$path" --pass "$pass")
        stock=$(inference "$cpu" "$path" --pass "$pass" --engine stock)
        awk -v cpu="$cpu" -v isa="$isa" -v name="$name" -v macs="${macs[$name]}" -v ours="$ours" -v stock="$stock" 'BEGIN {
            printf "| %s | %s | %s (%.0f M) | %.1f M | %.2f | %.1f M | %.1f |\n",
                cpu, isa, name, macs / 1e6, ours / 1e6, macs / ours, stock / 1e6, stock / ours }'
    done
done
