# What the scenarios share; sourced. Needs the machine that init has made.
#
# A bank of gpio-sim is the plant: its lines have the names of tests/vm/config.toml, in the order below.

lines="eye reject ready fault stop_line light encoder bin_full recipe_one recipe_two recipe_four"

mount -t configfs config /config
mkdir -p /config/gpio-sim/plant/bank
echo 16 >/config/gpio-sim/plant/bank/num_lines
offset=0
for name in $lines; do
    mkdir "/config/gpio-sim/plant/bank/line$offset"
    echo "$name" >"/config/gpio-sim/plant/bank/line$offset/name"
    offset=$((offset + 1))
done
echo 1 >/config/gpio-sim/plant/live
chip=$(cat /config/gpio-sim/plant/bank/chip_name)
bank=/sys/devices/platform/$(cat /config/gpio-sim/plant/dev_name)/$chip
camera=/dev/video0
unit=/guest/zoomgate.service
config=/etc/zoomgate/config.toml

# As systemd/60-zoomgate.rules would have it: the groups video and gpio may.
admit() {
    for node in /dev/gpiochip*; do chown root:gpio "$node" && chmod 660 "$node"; done
    for node in /dev/video*; do chown root:video "$node" && chmod 660 "$node"; done
}
admit

# What the daemon's account may do, as the unit's limits have it.
ulimit -r "$(sed -n 's/^LimitRTPRIO=//p' $unit)"
ulimit -l unlimited

# as_account COMMAND…: as the account of the unit.
as_account() { su -s /bin/sh "$(sed -n 's/^User=//p' $unit)" -c "exec $*"; }

# value NAME: the level of a line as the plant sees it.
value() {
    offset=0
    for name in $lines; do
        [ "$name" = "$1" ] && cat "$bank/sim_gpio$offset/value"
        offset=$((offset + 1))
    done
}

# wait_for SECONDS COMMAND…: until the command succeeds.
wait_for() {
    tries=$(($1 * 20))
    shift
    while ! "$@"; do
        tries=$((tries - 1))
        if [ $tries = 0 ]; then
            echo "FAILED: waited in vain for: $*"
            return 1
        fi
        usleep 50000
    done
}

is_ready() { [ "$(value ready)" = 1 ]; }
is_gone() { ! kill -0 "$1" 2>/dev/null; }

# The plant's side of the lines is recorded from here on.
watch_lines() {
    probe watch "$bank" reject=1 ready=2 fault=3 stop_line=4 >/out/lines 2>>/out/probe.log &
    watcher=$!
}

mark() { probe mark "$@" >>/out/marks; }

# start [UNIT]: the daemon under its supervisor, until it is ready.
start() {
    sh /guest/supervise.sh "${1:-$unit}" 2>>/out/daemon.log &
    supervisor=$!
    wait_for 60 is_ready
}

# stop: as `systemctl stop` does, and what was recorded until then.
stop() {
    kill -TERM "$(cat /run/zoomgate.pid)"
    wait_for 60 is_gone "$supervisor"
    kill -TERM "$watcher"
    wait "$watcher"
    cp /var/lib/zoomgate/events.jsonl /out/
}
