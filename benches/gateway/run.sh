#!/bin/bash
# run.sh [--quick]: installs, builds and runs the gateway's load test, prints its tables, and draws ../../docs/gateway-latency.svg.
# It needs Debian and two cores. `--quick` takes less than a minute after the build, and draws nothing.
source "$(dirname "$0")/build.sh"
install_packages wrk nginx haproxy caddy golang-go golang-golang-x-oauth2-dev
build_rust
build_go
get_envoy
exec python3 "$here/load_test.py" "$@" "$bin"
