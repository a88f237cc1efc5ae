# unguarded: SIGKILL under the unit without its ExecStopPost=, so that the test of that line is known to be one.
. /guest/common.sh

echo pull-up >"$bank/sim_gpio1/pull"
grep -v '^ExecStopPost=' $unit >/tmp/unguarded.service
watch_lines
start /tmp/unguarded.service || exit 1
sleep 1
probe kill "$(cat /run/zoomgate.pid)" >>/out/marks
sleep 1
wait_for 60 is_ready
mark restarted
stop
