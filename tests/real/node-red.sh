#!/bin/bash
# node-red.sh setup|start|stop: the admin API of Node-RED and the password grant that it has for it, an npm package.
source "$(dirname "$0")/process.sh"
dir=$STATE/node-red

case ${1:-} in
setup) "$here/node/install.sh" ;;
start)
  rm -rf "$dir"
  mkdir -p "$dir"
  cp "$here/node/node-red.mjs" "$STATE/node"
  spawn node-red node "$STATE/node/node-red.mjs" "$dir"
  await node-red "$NODE_RED_URL/auth/login"
  ;;
stop) end node-red ;;
esac
