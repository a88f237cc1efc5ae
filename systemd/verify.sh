#!/usr/bin/env bash
# Checks what is installed for systemd: run it as it is, from any folder. Needs systemd-analyze and udevadm (Debian:
# apt install systemd udev). Nothing of this machine is changed: the unit is looked at below a temporary root.
set -euo pipefail
cd "$(dirname "$0")"

for tool in systemd-analyze journalctl; do
    if ! command -v "$tool" >/dev/null; then
        echo "$tool is missing: apt install systemd" >&2
        exit 1
    fi
done

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/usr/local/bin" "$root/usr/lib/systemd/system" "$root/usr/lib/systemd/catalog" "$root/etc"
# The unit is good when everything that it starts can be started; what that does is for other tests.
mkdir "$root/bin"
for program in usr/local/bin/zoomgate bin/kill; do
    printf '#!/bin/sh\nexit 0\n' >"$root/$program"
    chmod +x "$root/$program"
done
cp zoomgate.service "$root/usr/lib/systemd/system/"
cp zoomgate.catalog "$root/usr/lib/systemd/catalog/"
# What the unit is ordered after is looked up below the root, too.
host=/usr/lib/systemd/system
[ -d "$host" ] || host=/lib/systemd/system
cp "$host"/*.target "$host"/*.slice "$host"/*.socket "$host"/*.service "$host"/*.mount "$root/usr/lib/systemd/system/" 2>/dev/null || true

echo "systemd-analyze verify: $(systemd-analyze --version | head -1)"
complaints=$(systemd-analyze verify --root="$root" --recursive-errors=no --man=no zoomgate.service 2>&1 >/dev/null) || {
    echo "$complaints" >&2
    exit 1
}
if [ -n "$complaints" ]; then
    echo "$complaints" >&2
    echo "systemd-analyze verify complains" >&2
    exit 1
fi

# The threshold counts tenths: exposure 2.0 at the most.
systemd-analyze security --root="$root" --offline=true --threshold=20 --no-pager zoomgate.service | tail -n 1

journalctl --root="$root" --update-catalog
entries=$(journalctl --root="$root" --list-catalog 2>/dev/null | grep -c '^7a6f6f6d67617465' || true)
wanted=$(grep -c '^-- 7a6f6f6d67617465' zoomgate.catalog)
if [ "$entries" != "$wanted" ]; then
    echo "journalctl reads $entries of the catalogue's $wanted entries" >&2
    exit 1
fi
echo "catalogue: $entries entries"

# udevadm has learnt to verify in version 254.
if command -v udevadm >/dev/null && udevadm verify --help >/dev/null 2>&1; then
    udevadm verify --resolve-names=never 60-zoomgate.rules
else
    echo "udevadm cannot verify here: the rules were not checked"
fi
