#!/bin/bash
# python-issuers.sh setup|start|stop: servers made with Authlib and with django-oauth-toolkit in one process, Python packages.
source "$(dirname "$0")/process.sh"
dir=$STATE/python-issuers

case ${1:-} in
setup) "$here/python/install.sh" ;;
start)
  rm -rf "$dir"
  mkdir -p "$dir"
  cp "$here"/python/{authlib_issuer,django_issuer,issuers}.py "$dir"
  spawn python-issuers "$STATE/python/bin/python" -B "$dir/issuers.py"
  await python-issuers "$AUTHLIB_URL/up"
  await python-issuers "$DJANGO_OAUTH_TOOLKIT_URL/up"
  ;;
stop) end python-issuers ;;
esac
