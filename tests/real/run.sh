#!/bin/bash
# run.sh COMMAND...: installs and starts the real servers, runs COMMAND with their addresses in its environment
# (the list is in servers.sh), and stops them at the end, also after an error.
source "$(dirname "$0")/process.sh"
trap '"$here/servers.sh" stop' EXIT
"$here/servers.sh" setup
"$here/servers.sh" start
set -a; source "$STATE/env"; set +a
"$@"
