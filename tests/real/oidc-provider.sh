#!/bin/bash
# oidc-provider.sh setup|start|rotate-key|stop: the second authorization server, an npm package.
source "$(dirname "$0")/process.sh"
dir=$STATE/oidc-provider

case ${1:-} in
setup) "$here/node/install.sh" ;;
start)
  rm -rf "$dir"
  mkdir -p "$dir"
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out "$dir/backend.pem" 2>/dev/null
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$dir/backend-rsa.pem" 2>/dev/null
  cp "$here/node/oidc-provider.mjs" "$STATE/node"
  spawn oidc-provider node "$STATE/node/oidc-provider.mjs" "$dir"
  await oidc-provider "$OIDC_PROVIDER_JWKS_URL"
  ;;
rotate-key)
  before=$(curl -s "$OIDC_PROVIDER_JWKS_URL")
  kill -HUP "$(<"$dir/pid")"
  for _ in $(seq 100); do [ "$(curl -s "$OIDC_PROVIDER_JWKS_URL")" != "$before" ] && exit; sleep 0.05; done
  echo "oidc-provider kept its key" >&2
  exit 1
  ;;
stop) end oidc-provider ;;
esac
