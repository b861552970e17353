# Sourced by each server's script: where its files are, how it starts and how it stops.
# A server NAME keeps everything in $STATE/NAME: its configuration, its log, and the id of its process group.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
STATE=${TOWER_BEARER_REAL_STATE:-${CARGO_TARGET_DIR:-$here/../../target}/real}
mkdir -p "$STATE"
STATE=$(cd "$STATE" && pwd)

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

install_packages() { # PACKAGE...
  local options="-y -q --no-install-recommends -o DPkg::Lock::Timeout=300"
  export DEBIAN_FRONTEND=noninteractive
  dpkg -s "$@" >/dev/null 2>&1 && return
  # The lists may be missing, or so old that the versions they name are gone.
  as_root apt-get install $options "$@" </dev/null >"$STATE/apt.log" 2>&1 && return
  as_root apt-get update -q </dev/null >>"$STATE/apt.log" 2>&1 || true
  as_root apt-get install $options "$@" </dev/null >>"$STATE/apt.log" 2>&1 && return
  echo "could not install $*:" >&2
  tail -n 20 "$STATE/apt.log" >&2
  return 1
}

spawn() { # NAME COMMAND...: COMMAND in the background, the leader of its own process group
  setsid "${@:2}" </dev/null >"$STATE/$1/log" 2>&1 &
  echo $! >"$STATE/$1/pid"
}

await() { # NAME URL: returns when URL answers; fails when the process has gone or 20 s have passed
  for _ in $(seq 400); do
    kill -0 "$(<"$STATE/$1/pid")" 2>/dev/null || break
    curl -s -o /dev/null --max-time 2 "$2" && return
    sleep 0.05
  done
  echo "$1 did not start; its log ($STATE/$1/log) ends:" >&2
  tail -n 20 "$STATE/$1/log" >&2
  return 1
}

end() { # NAME: a group whose commands do not mention our folder is not ours: the id was reused
  local group
  group=$(cat "$STATE/$1/pid" 2>/dev/null) || return 0
  alive() { pgrep -g "$group" -f "$STATE/$1" >/dev/null; }
  alive "$1" && kill -- "-$group"
  for _ in $(seq 100); do alive "$1" || break; sleep 0.05; done
  alive "$1" && kill -9 -- "-$group"
  rm -f "$STATE/$1/pid"
}
