#!/bin/bash
# profile.sh: where the gateway's time goes under load. Needs perf, whose software clock is enough: a virtual machine will do.
source "$(dirname "$0")/build.sh"
install_packages wrk binutils linux-perf
build_rust
exec python3 "$here/profile.py" "$bin"
