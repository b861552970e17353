#!/bin/bash
# profile.sh: shows where the gateway spends its time under load. It needs perf. A virtual machine works, because perf's
# software clock is enough.
source "$(dirname "$0")/build.sh"
install_packages wrk binutils linux-perf
build_rust
exec python3 "$here/profile.py" "$bin"
