# pi: the daemon on a Raspberry Pi's registers; tests/vm/pi.py watches the pin from outside.
ls /dev/gpiomem /dev/gpiochip* 2>/dev/null
tr '\0' '\n' </sys/firmware/devicetree/base/model
zoomgate doctor --config /etc/zoomgate/pi.toml
zoomgate run --config /etc/zoomgate/pi.toml
