#!/bin/bash
# node-apis.sh setup|start|stop: keycloak-connect, passport-http-bearer and Apollo Server in one process, npm packages.
source "$(dirname "$0")/process.sh"
dir=$STATE/node-apis

case ${1:-} in
setup) "$here/node/install.sh" ;;
start)
  rm -rf "$dir"
  mkdir -p "$dir"
  cp "$here/node/apis.mjs" "$STATE/node"
  spawn node-apis node "$STATE/node/apis.mjs" "$dir"
  await node-apis "$KEYCLOAK_CONNECT_URL/up"
  await node-apis "$PASSPORT_URL/up"
  await node-apis "$APOLLO_URL"
  await node-apis "$APOLLO_RESOLVER_URL"
  ;;
stop) end node-apis ;;
esac
