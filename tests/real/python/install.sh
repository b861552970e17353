#!/bin/bash
# Installs the Python packages in a virtual environment, $STATE/python, so that neither the system nor the working tree changes.
source "$(dirname "$0")/../process.sh"
source=$here/python target=$STATE/python
cmp -s "$source/requirements.txt" "$target/installed.txt" && exit
install_packages python3-venv
mkdir -p "$target"
if ! { python3 -m venv --clear "$target" && "$target/bin/pip" install --disable-pip-version-check --no-deps -r "$source/requirements.txt"; } \
  </dev/null >"$STATE/pip.log" 2>&1; then
  echo "pip install failed:" >&2
  tail -n 20 "$STATE/pip.log" >&2
  exit 1
fi
cp "$source/requirements.txt" "$target/installed.txt"
