#!/usr/bin/env bash
# Builds the release binary for a board:
#
#   cross/build.sh aarch64|x86_64 [cargo arguments…]
#
# Needs the target of the toolchain and, for a foreign architecture, a C cross linker; says how to get what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    echo "usage: cross/build.sh aarch64|x86_64 [cargo arguments…]" >&2
    exit 2
}

[[ $# -ge 1 ]] || usage
arch=$1
shift
case $arch in
    aarch64 | x86_64) target=$arch-unknown-linux-gnu ;;
    *) usage ;;
esac

libraries=$(rustc --print target-libdir --target "$target")
if [[ ! -d $libraries ]]; then
    echo "The Rust standard library for $target is not installed. Run: rustup target add $target" >&2
    exit 1
fi

if [[ $(uname -m) != "$arch" ]]; then
    linker=$arch-linux-gnu-gcc
    if ! command -v "$linker" >/dev/null; then
        echo "The linker $linker is not installed. On Debian and Ubuntu run: apt-get install gcc-${arch//_/-}-linux-gnu" >&2
        exit 1
    fi
    variable=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$target")_LINKER
    export "$variable=$linker"
fi

cargo build --release --bin zoomgate --target "$target" "$@"
ls -lh "target/$target/release/zoomgate"
