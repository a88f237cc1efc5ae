# levels: lines that are active before the daemon starts. A bin and switches are states; an eye and a button are not.
. /guest/common.sh

config=/etc/zoomgate/levels.toml
cp $config /etc/zoomgate/config.toml
offset=0
for name in $lines; do
    case $name in
        eye | light | bin_full | recipe_one | recipe_four) echo pull-up >"$bank/sim_gpio$offset/pull" ;;
    esac
    offset=$((offset + 1))
done
watch_lines
start || exit 1
sleep 1
mark emptied
echo pull-down >"$bank/sim_gpio7/pull"
sleep 1
zoomgate status --json >/out/status.json
stop
