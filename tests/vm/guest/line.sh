# line: parts pass, and every reject pulse is recorded. PARTS and PERIOD_MS come from the kernel's command line.
. /guest/common.sh

watch_lines
start || exit 1
probe belt "$bank" 0 $camera "${PARTS:-200}" "${PERIOD_MS:-250}" >/out/belt 2>>/out/probe.log || exit 1
sleep 2
zoomgate status --json >/out/status.json
stop
