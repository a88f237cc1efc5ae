#!/usr/bin/env bash
# Fetches what the virtual machines are made of, into $LAB (target/vm unless it is set):
#
#   tests/vm/setup.sh
#
# QEMU, Debian's arm64 kernel with its modules, busybox, and gpio-sim.ko, which Debian does not build: it is compiled
# here from the kernel's source. About 230 MB come from the Debian mirror. Needs Debian or a relative of it, and root,
# because it installs the libraries of QEMU and a cross compiler. QEMU itself is unpacked beside, not installed:
# its package would remove an installed qemu-utils.
# It is done once: a folder that is complete is left alone. Exit code 3: this machine cannot have the emulator; a sentence says why.
set -euo pipefail
cd "$(dirname "$0")/../.."

lab=${LAB:-target/vm}
mkdir -p "$lab"
lab=$(cd "$lab" && pwd)

cannot() {
    echo "setup: this machine cannot have the emulator: $*" >&2
    exit 3
}

if [[ -f $lab/ready ]]; then
    echo "setup: kernel $(cat "$lab/ready") and QEMU are in $lab"
    exit
fi
for tool in apt-get apt-cache dpkg dpkg-deb; do
    command -v "$tool" >/dev/null || cannot "$tool is missing; this script knows Debian only"
done
[[ $(id -u) == 0 ]] || cannot "packages are installed as root; run tests/vm/setup.sh as root once"
export DEBIAN_FRONTEND=noninteractive

# apt ARGUMENTS…: what it says is shown where it fails.
apt() {
    apt-get -q "$@" >"$lab/apt.log" 2>&1 || {
        tail -n 20 "$lab/apt.log" >&2
        cannot "apt-get $1 fails"
    }
}

dpkg --add-architecture arm64
apt update
image=$(apt-cache depends linux-image-arm64:arm64 | sed -n 's/.*Depends: \(linux-image-[0-9][^:]*\).*/\1/p' | head -n 1)
[[ -n $image ]] || cannot "apt knows no linux-image-arm64:arm64"
version=${image#linux-image-}
# 6.1.0-56-arm64 is built from the source of 6.1.
series=$(sed 's/^\([0-9]*\.[0-9]*\)\..*/\1/' <<<"$version")
echo "setup: kernel $version"

mkdir -p "$lab/debs"
(cd "$lab/debs" && apt download "$image:arm64" "linux-headers-$version:arm64" "linux-headers-${version%-*}-common" \
    "linux-kbuild-$series" "linux-source-$series" qemu-system-arm qemu-system-common qemu-system-data \
    busybox-static:arm64)

# deb PREFIX: the newest package of that name.
deb() { find "$lab/debs" -name "$1_*.deb" -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-; }

# The libraries that QEMU's package asks for, and the tools of this folder.
libraries=$(dpkg-deb -f "$(deb qemu-system-arm)" Depends | tr ',' '\n' | awk '$1 ~ /^lib/ { print $1 }')
# shellcheck disable=SC2086
apt install -y --no-install-recommends --no-remove cpio kmod make python3 gcc-aarch64-linux-gnu $libraries

for name in qemu-system-arm qemu-system-common qemu-system-data; do dpkg -x "$(deb "$name")" "$lab/qemu"; done
dpkg -x "$(deb "$image")" "$lab/kernel"
depmod -b "$lab/kernel" "$version"
dpkg -x "$(deb busybox-static)" "$lab/busybox"
for name in "linux-headers-$version" "linux-headers-${version%-*}-common" "linux-kbuild-$series"; do
    dpkg -x "$(deb "$name")" "$lab/headers"
done

# gpio-sim, with the interrupt simulator linked in: Debian has neither. Two of its calls are not exported to modules.
module=$lab/gpio-sim
source=linux-source-$series
rm -rf "$module"
mkdir -p "$module"
dpkg-deb --fsys-tarfile "$(deb "$source")" | tar -xO "./usr/src/$source.tar.xz" |
    tar -xJ -C "$module" --strip-components=3 \
        "$source/drivers/gpio/gpio-sim.c" "$source/drivers/gpio/gpiolib.h" "$source/kernel/irq/irq_sim.c"
mv "$module/gpio-sim.c" "$module/gpio-sim-main.c"
sed -i -e 's/^EXPORT_SYMBOL_GPL(.*);//' \
    -e 's/handle_simple_irq(irq_to_desc(\(.*\)));/generic_handle_irq(\1);/' "$module/irq_sim.c"
printf 'obj-m := gpio-sim.o\ngpio-sim-y := gpio-sim-main.o irq_sim.o\n' >"$module/Kbuild"
headers=$lab/headers/usr/src/linux-headers-$version
# The package's Makefile names its other half below /usr/src.
echo "include $lab/headers/usr/src/linux-headers-${version%-*}-common/Makefile" >"$headers/Makefile"
make -C "$headers" "M=$module" ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- modules >"$lab/gpio-sim.log" 2>&1 || {
    tail -n 20 "$lab/gpio-sim.log" >&2
    echo "setup: gpio-sim does not build; see $lab/gpio-sim.log" >&2
    exit 1
}

"$lab/qemu/usr/bin/qemu-system-aarch64" --version | head -n 1
rm -r "$lab/debs" "$lab/headers"
echo "$version" >"$lab/ready"
echo "setup: ready in $lab"
