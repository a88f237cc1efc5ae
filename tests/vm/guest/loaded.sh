# loaded: a belt with an encoder beside threads that want all of the processor and that the kernel prefers to any ordinary
# thread of ours (nice -20), as it does those of its own work queues.
. /guest/common.sh

cp /etc/zoomgate/loaded.toml /etc/zoomgate/config.toml
watch_lines
probe encoder "$bank" 6 4000 >/out/encoder 2>>/out/probe.log &
encoder=$!
start || exit 1
spinners=
for _ in 1 2 3 4; do
    nice -n -20 sh -c 'while :; do :; done' &
    spinners="$spinners $!"
done
sleep 1
probe strobes "$bank" 0 5 60 80 >/out/belt 2>>/out/probe.log || exit 1
sleep 2
kill $spinners
stop
kill -TERM $encoder
