# Sourced with an architecture and dynamic|static: how to build for it here.
#
# Sets target (the triple), build (the command in place of cargo, an array), target_dir (cargo's target folder) and
# objcopy, and exports what the build reads. Three ways, the first that is there:
#   1. rustup's standard library for the target and a C cross compiler (rustup target add TRIPLE);
#   2. the `cross` tool, which brings a container (cargo install cross, Cross.toml);
#   3. Debian's own compiler, which brings a foreign standard library (cross/setup.sh, as root).
# shellcheck shell=bash disable=SC2034

case $1 in
    aarch64) target=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu ;;
    armv7) target=armv7-unknown-linux-gnueabihf gnu=arm-linux-gnueabihf ;;
    x86_64) target=x86_64-unknown-linux-gnu gnu=x86_64-linux-gnu ;;
    *) return 1 ;;
esac

upper=$(tr 'a-z-' 'A-Z_' <<<"$target")
target_dir=${CARGO_TARGET_DIR:-target}
build=(cargo)
objcopy=objcopy
has_compiler() { command -v "$gnu-gcc" >/dev/null; }
has_source() { [[ -d $("$1" --print sysroot)/lib/rustlib/src/rust/library ]]; }
has_std() { [[ -d $("$1" --print target-libdir --target "$target" 2>/dev/null) ]]; }

if [[ $(uname -m) != "$1" ]] && has_compiler; then
    export "CARGO_TARGET_${upper}_LINKER=$gnu-gcc"
    objcopy=$gnu-objcopy
fi
if [[ $2 == static ]]; then
    export "CARGO_TARGET_${upper}_RUSTFLAGS=-C target-feature=+crt-static"
fi

if has_std rustc && { [[ $(uname -m) == "$1" ]] || has_compiler; }; then
    :
elif command -v cross >/dev/null; then
    build=(cross)
elif [[ -x /usr/bin/rustc ]] && has_compiler && { has_std /usr/bin/rustc || has_source /usr/bin/rustc; }; then
    # Another compiler than the host's: what it builds is kept apart.
    export RUSTC=/usr/bin/rustc
    target_dir=${CARGO_TARGET_DIR:-target}/cross
    export CARGO_TARGET_DIR=$target_dir
    if ! has_std /usr/bin/rustc; then
        # Debian has no standard library for this one: it is built from its sources.
        export RUSTC_BOOTSTRAP=1
        build=(cargo -Z build-std=std,panic_unwind,proc_macro,test)
    fi
else
    {
        echo "Nothing here builds for $target. One of:"
        echo "  rustup target add $target, and the C compiler $gnu-gcc (Debian: apt-get install gcc-$gnu g++-$gnu)"
        echo "  cargo install cross, with Docker or Podman"
        echo "  on Debian, as root: cross/setup.sh $1"
    } >&2
    exit 1
fi
