#!/usr/bin/env bash
# Builds the program that is installed on a board:
#
#   cross/build.sh aarch64|armv7|x86_64 [--static] [cargo arguments…]
#
# The result is target/dist/zoomgate-ARCH, stripped (Cargo.toml says how profile dist differs from release).
# With --static it needs nothing of the board but a kernel; without, glibc as new as the builder's.
# Cameras (feature v4l2) are included. How it is built is chosen by cross/toolchain.sh, which says what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    echo "usage: cross/build.sh aarch64|armv7|x86_64 [--static] [cargo arguments…]" >&2
    exit 2
}

[[ $# -ge 1 ]] || usage
arch=$1
shift
link=dynamic
if [[ ${1:-} == --static ]]; then
    link=static
    shift
fi
# shellcheck source=cross/toolchain.sh
. cross/toolchain.sh "$arch" "$link" || usage

"${build[@]}" build --profile dist --features v4l2 --bin zoomgate --target "$target" "$@"

out=target/dist/zoomgate-$arch
mkdir -p target/dist
"$objcopy" --strip-all "$target_dir/$target/dist/zoomgate" "$out"
if [[ $link == static ]] && file -L "$out" 2>/dev/null | grep -q 'dynamically linked'; then
    echo "$out is not static" >&2
    exit 1
fi
ls -l "$out"
