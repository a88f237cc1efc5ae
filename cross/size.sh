#!/usr/bin/env bash
# Records what the shipped program weighs: bytes of target/dist/zoomgate-aarch64 (cross/build.sh aarch64 --static), and
# the crates that go into it.
#
#   cross/size.sh           writes cross/SIZE.txt
#   cross/size.sh --check   fails where the file is no longer true, or the program larger than 20 MB
set -euo pipefail
cd "$(dirname "$0")/.."

program=target/dist/zoomgate-aarch64
most=20000000
bytes=$(stat -c %s "$program")
crates=$(cargo tree --edges normal --features v4l2 --target aarch64-unknown-linux-gnu --prefix none --format '{p}' |
    sed 's/ (.*//' | sort -u | wc -l)
record="bytes $bytes
crates $crates"

if [[ ${1:-} != --check ]]; then
    {
        echo "# The static program for aarch64 and the crates it is made of; cross/size.sh writes this, CI compares."
        echo "$record"
    } >cross/SIZE.txt
    cat cross/SIZE.txt
    exit 0
fi
echo "$record"
written() { awk -v name="$1" '$1 == name { print $2 }' cross/SIZE.txt; }
if ((bytes > most)); then
    echo "$program has $bytes bytes; $most are allowed" >&2
    exit 1
fi
# Another patch level of the compiler moves the size a little; a dependency moves the count.
if ((crates != $(written crates))) || ((bytes * 100 > $(written bytes) * 103)) || ((bytes * 103 < $(written bytes) * 100)); then
    echo "cross/SIZE.txt says $(written bytes) bytes and $(written crates) crates: look at what came in, then run cross/size.sh" >&2
    exit 1
fi
