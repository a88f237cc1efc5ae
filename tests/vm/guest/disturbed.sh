# disturbed: what goes wrong in mid-run, one after the other, while parts keep coming.
#
# gpio-sim's line falls back to its pull when nobody holds it: up, the reject actuator's unsafe level.
. /guest/common.sh

driver=/sys/bus/platform/drivers/vivid
echo pull-up >"$bank/sim_gpio1/pull"
watch_lines
start "${1:-$unit}" || exit 1
probe belt "$bank" 0 $camera 120 "${PERIOD_MS:-250}" >/out/belt 2>>/out/probe.log &
belt=$!

sleep 3
mark busy
probe hold "/dev/$chip" 1 100 >/out/hold

sleep 2
mark clock
date >/out/clock
date -s "@$(($(date +%s) + 3600))" >>/out/clock

sleep 3
as_account zoomgate devices --json >/out/before.json
mark unplugged
echo vivid.0 >$driver/unbind
sleep 3
mark plugged
echo vivid.0 >$driver/bind
wait_for 5 test -e $camera
admit
sleep 5
as_account zoomgate devices --json >/out/after.json

sleep 1
probe kill "$(cat /run/zoomgate.pid)" >>/out/marks
sleep 1
wait_for 60 is_ready
mark restarted
wait $belt
sleep 2
stop
