#!/bin/bash
# python-apis.sh setup|start|stop: FastAPI, Flask and Django in one process, Python packages.
source "$(dirname "$0")/process.sh"
dir=$STATE/python-apis

case ${1:-} in
setup) "$here/python/install.sh" ;;
start)
  rm -rf "$dir"
  mkdir -p "$dir"
  cp "$here"/python/*.py "$dir"
  spawn python-apis "$STATE/python/bin/python" -B "$dir/main.py"
  await python-apis "$FLASK_URL/up"
  await python-apis "$DJANGO_URL/up"
  await python-apis "$FASTAPI_URL/up"
  ;;
stop) end python-apis ;;
esac
