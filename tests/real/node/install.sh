#!/bin/bash
# Installs the packages of the two servers in $STATE/node, and copies the servers there, so that the working tree stays clean.
source "$(dirname "$0")/../process.sh"
if ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then
  echo "oidc-provider needs Node 20 or later; found $(node --version 2>/dev/null || echo none)" >&2
  exit 1
fi
source=$here/node target=$STATE/node
mkdir -p "$target"
cmp -s "$source/package.json" "$target/installed.json" && exit
cp "$source/package.json" "$target"
if ! (cd "$target" && npm install --no-package-lock --no-audit --no-fund </dev/null >npm.log 2>&1); then
  echo "npm install failed:" >&2
  tail -n 20 "$target/npm.log" >&2
  exit 1
fi
cp "$source/package.json" "$target/installed.json"
