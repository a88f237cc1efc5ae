# guardian: the daemon dies in a pulse and no service manager is there; then a new one starts. Three ways to die.
#
# gpio-sim's line falls back to its pull when nobody holds it: up, the reject actuator's unsafe level. No ulimit: without
# real time, as from a terminal.
. /guest/common.sh

echo pull-up >"$bank/sim_gpio1/pull"
# Long pulses, so that death comes in the middle of one.
sed 's/^travel_mm = .*/&\npulse_width_ms = 400/' $config >/tmp/config.toml
cp /etc/zoomgate/recipe.onnx /tmp/
watch_lines

begin() {
    # Not as_account, a function: its process would be another shell's.
    su -s /bin/sh zoomgate -c "exec zoomgate run --config /tmp/config.toml" 2>>/out/daemon.log &
    daemon=$!
    wait_for 60 is_ready
}
fires() { [ "$(value reject)" = 1 ]; }
# What the kernel calls the holder of the reject line.
holder() { zoomgate devices --json >"/out/$1.json"; }

probe belt "$bank" 0 $camera "${PARTS:-60}" 1000 >/out/belt 2>>/out/probe.log &
belt=$!
for signal in KILL SEGV ABRT; do
    begin || exit 1
    wait_for 60 fires || exit 1
    probe kill $daemon $signal >>/out/marks
    wait_for 10 is_gone $daemon
    sleep 2
    holder $signal
    mark restart $signal
done
begin || exit 1
wait_for 60 fires || exit 1
mark restarted
kill $belt
sleep 1
kill -TERM $daemon
wait_for 60 is_gone $daemon
ps >/out/ps
kill -TERM "$watcher"
wait "$watcher"
cp /var/lib/zoomgate/events.jsonl /out/
