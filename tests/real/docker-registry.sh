#!/bin/bash
# docker-registry.sh setup|start|stop: the registry with token authentication, a Debian package.
source "$(dirname "$0")/process.sh"
dir=$STATE/docker-registry

case ${1:-} in
setup) install_packages docker-registry curl ;;
start)
  rm -rf "$dir"
  mkdir -p "$dir"
  cat >"$dir/config.yml" <<CONF
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $dir/data } }
http: { addr: ${DOCKER_REGISTRY_URL#http://} }
auth:
  token: { realm: http://127.0.0.1/token, service: api, issuer: http://127.0.0.1/realms/test, rootcertbundle: $API_CERTIFICATE_FILE }
CONF
  spawn docker-registry docker-registry serve "$dir/config.yml"
  await docker-registry "$DOCKER_REGISTRY_URL/v2/"
  ;;
stop) end docker-registry ;;
esac
