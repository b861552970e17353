#!/bin/bash
# node-oauth2-server.sh setup|start|stop: an authorization server with the API that accepts its tokens, an npm package.
source "$(dirname "$0")/process.sh"
dir=$STATE/node-oauth2-server

case ${1:-} in
setup) "$here/node/install.sh" ;;
start)
  rm -rf "$dir"
  mkdir -p "$dir"
  cp "$here/node/node-oauth2-server.mjs" "$STATE/node"
  spawn node-oauth2-server node "$STATE/node/node-oauth2-server.mjs" "$dir"
  await node-oauth2-server "$NODE_OAUTH2_SERVER_URL/up"
  ;;
stop) end node-oauth2-server ;;
esac
