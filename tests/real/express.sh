#!/bin/bash
# express.sh setup|start|stop: the resource server for oidc-provider's tokens, an npm package.
source "$(dirname "$0")/process.sh"

case ${1:-} in
setup) "$here/node/install.sh" ;;
start)
  rm -rf "$STATE/express"
  mkdir -p "$STATE/express"
  cp "$here/node/express.mjs" "$STATE/node"
  spawn express node "$STATE/node/express.mjs" "$STATE/express"
  await express "$EXPRESS_URL/up"
  ;;
stop) end express ;;
esac
