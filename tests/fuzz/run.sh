#!/usr/bin/env bash
# Feeds models that libFuzzer makes up to what reads them:
#
#   tests/fuzz/run.sh [SECONDS] [libFuzzer's arguments…]
#
# Goes on from the files of earlier runs in target/fuzz/corpus. A file that ends it is left in target/fuzz, and
# `target/fuzz/x86_64-unknown-linux-gnu/release/fuzz_onnx FILE` repeats it. Works with the stable compiler: counters
# are a pass of LLVM's. The first build takes ten minutes, so CI does without; tests/onnx.rs has 8,000 damaged files.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-300}
shift || true
target=$(uname -m)-unknown-linux-gnu
llvm=(level=4 inline-8bit-counters pc-table trace-compares)
# Only what is built for the target gets counters: with --target, build scripts and macros do not.
RUSTFLAGS="--cfg fuzzing -C passes=sancov-module $(printf -- '-C llvm-args=-sanitizer-coverage-%s ' "${llvm[@]}")" \
    CARGO_TARGET_DIR=target/fuzz CARGO_INCREMENTAL=0 cargo build --release --manifest-path tests/fuzz/Cargo.toml --target "$target"
mkdir -p target/fuzz/corpus target/fuzz/seeds
SEEDS=target/fuzz/seeds "target/fuzz/$target/release/fuzz_onnx" -max_total_time="$seconds" -max_len=16384 -timeout=20 \
    -rss_limit_mb=1024 -artifact_prefix=target/fuzz/ "$@" target/fuzz/corpus target/fuzz/seeds
