#!/usr/bin/env bash
# Installs, on a Debian 12 as root, what cross/build.sh and cross/test.sh need where rustup offers no foreign target:
#
#   cross/setup.sh aarch64|armv7
#
# Debian's rustc-web with a standard library of the target, the C cross compiler, libclang for the cameras' bindings,
# and the user-mode emulator. Changes nothing where all is there.
set -euo pipefail

arch=${1:?usage: cross/setup.sh aarch64|armv7}
case $arch in
    aarch64) packages=(libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libc6-dev-arm64-cross) ;;
    # Not `dpkg --add-architecture armhf`: beside arm64 its index cannot be resolved. The library comes as source.
    armv7) packages=(rust-web-src gcc-arm-linux-gnueabihf g++-arm-linux-gnueabihf libc6-dev-armhf-cross) ;;
    *)
        echo "usage: cross/setup.sh aarch64|armv7" >&2
        exit 2
        ;;
esac
packages+=(rustc-web libclang-dev clang qemu-user file)

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $arch == aarch64 ]]; then
    dpkg --add-architecture arm64
fi
apt-get update -qq
# The two parts of the compiler come from two indices, of which one may lag behind: both in the same version, or none.
# Read to its end: a reader that stops early fails the writer, and `pipefail` the script, now and then.
candidate() {
    apt-cache policy "$1" | sed -n 's/^ *Candidate: //p'
}
version=$(candidate rustc-web)
if [[ $arch == aarch64 && $(candidate libstd-rust-web-dev:arm64) != "$version" ]]; then
    echo "libstd-rust-web-dev:arm64 is not at $version as rustc-web is: run this again when Debian's index has both" >&2
    exit 1
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
