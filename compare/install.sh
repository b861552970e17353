#!/usr/bin/env bash
# Installs and builds what `run.py` starts, in the folder COMPARE_HOME. It needs Debian, cargo, npm and Python 3.11.
set -euo pipefail
cd "$(dirname "$0")"
home=${COMPARE_HOME:-${TMPDIR:-/tmp}/tower-bearer-compare}
mkdir -p "$home/node"

dpkg-query -W golang-go golang-golang-x-oauth2-dev ruby-oauth2 >/dev/null 2>&1 ||
  { apt-get update && apt-get install -y --no-install-recommends golang-go golang-golang-x-oauth2-dev ruby-oauth2; }
GO111MODULE=off GOPATH=/usr/share/gocode go build -o "$home/go_oauth2" go/oauth2.go

[ -e "$home/venv" ] || python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet --requirement requirements.txt

# Node looks for packages beside the program.
cp node/* "$home/node/"
npm install --prefix "$home/node" --no-audit --no-fund

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$home/target}
cargo build --manifest-path rust/Cargo.toml
cargo build --manifest-path ../Cargo.toml --example gateway
