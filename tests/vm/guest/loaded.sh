# loaded: a belt with an encoder beside a thread that wants all of the processor and goes before every ordinary one for
# four seconds, as those of drivers do (SCHED_FIFO, below the actuation). Nothing is seen or inspected in that time; what
# the edges themselves cause comes all the same.
. /guest/common.sh

cp /etc/zoomgate/loaded.toml /etc/zoomgate/config.toml
watch_lines
probe encoder "$bank" 6 4000 >/out/encoder 2>>/out/probe.log &
encoder=$!
start || exit 1
# Without the kernel's own brake, which would hold up the actuation along with what is in its way.
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
probe strobes "$bank" 0 5 60 80 >/out/belt 2>>/out/probe.log &
parts=$!
sleep 1
probe spin 4
wait $parts
sleep 2
stop
kill -TERM $encoder
