# supervise.sh UNIT: runs the very lines of the unit file as systemd would, for a machine without systemd.
#
# ExecStart= as User=; however that ended, each ExecStopPost= as the same; after a failure RestartSec= and again, except
# for RestartPreventExitStatus=. The daemon's pid is in /run/zoomgate.pid.

setting() { sed -n "s/^$1=//p" "$unit"; }

unit=$1
user=$(setting User)
while :; do
    su -s /bin/sh "$user" -c "export SYSTEMD_EXEC_PID=\$\$; exec $(setting ExecStart)" &
    pid=$!
    echo $pid >/run/zoomgate.pid
    wait $pid
    code=$?
    setting ExecStopPost | while read -r line; do
        su -s /bin/sh "$user" -c "exec $line" </dev/null
    done
    echo "supervise: the daemon ended with $code" >&2
    [ $code = 0 ] && exit 0
    [ $code = "$(setting RestartPreventExitStatus)" ] && exit $code
    sleep "$(setting RestartSec)"
done
