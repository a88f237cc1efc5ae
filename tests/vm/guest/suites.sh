# suites: the project's own tests of cameras and lines, on the devices of this machine.
. /guest/common.sh

# suite NAME ARGUMENTS…: a test binary, if it was brought here.
suite() {
    name=$1
    shift
    if [ ! -x "/guest/$name" ]; then
        echo "guest: SKIPPED: no $name was brought here"
        return
    fi
    "/guest/$name" "$@" >"/out/$name" 2>&1 || echo "FAILED: $name"
    grep '^test result' "/out/$name" | sed "s/^/guest: $name: /"
}

export ZOOMGATE_TEST_CAMERA=$camera ZOOMGATE_TEST_REPLUG="/sys/bus/platform/drivers/vivid vivid.0"
export ZOOMGATE_GPIO_SIM=$chip
suite camera_tests --nocapture
suite lib_tests gpio:: --nocapture
