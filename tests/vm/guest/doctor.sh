# doctor: what it finds on a machine that is as it should be, and on three that are not.
. /guest/common.sh

config=/etc/zoomgate/config.toml

# doctor NAME: as the daemon's account; the exit code says whether a check failed.
doctor() {
    as_account zoomgate doctor --config $config --json >"/out/$1.json" 2>"/out/$1.log"
    echo $? >"/out/$1.code"
}

doctor green

probe hold "/dev/$chip" 1 20000 >/out/hold &
holder=$!
wait_for 10 grep -q held /out/hold
doctor held
# The same line by its place.
sed -i "s/^line = \"reject\"/line = \"$chip:1\"/" $config
doctor placed
sed -i "s/^line = \"$chip:1\"/line = \"reject\"/" $config
# The daemon itself does not start either, and says why.
as_account zoomgate run --config $config 2>/out/run.log
echo $? >/out/run.code
kill $holder

chown root:root /dev/gpiochip* /dev/video*
doctor denied
admit

echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
doctor unplugged
