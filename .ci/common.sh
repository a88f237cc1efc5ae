# Sourced by .ci/run and .ci/release from the repository's root: how a step is run and said, and what both need.
# shellcheck shell=bash

export CARGO_INCREMENTAL=0
export PIP_NO_CACHE_DIR=1
export RUST_BACKTRACE=1

step() {
    local title=$1 start=$SECONDS
    shift
    echo "== $(date +%T) $title: $*"
    "$@"
    echo "== $(date +%T) $title took $((SECONDS - start)) s"
}

# Cameras' bindings are generated with libclang; the unit is checked by systemd's own tool.
tools() {
    local wanted=()
    ls /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1 || wanted+=(libclang-dev)
    command -v systemd-analyze >/dev/null || wanted+=(systemd)
    if [[ ${#wanted[@]} -gt 0 ]]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
    fi
}
