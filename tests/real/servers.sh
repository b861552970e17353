#!/bin/bash
# servers.sh setup         installs the servers; safe to repeat
# servers.sh start         starts them again and writes their addresses to $STATE/env
# servers.sh rotate-keys   both authorization servers sign with a new key from now on, and publish only that
# servers.sh stop          stops the servers that an earlier start left running
#
# TOWER_BEARER_REAL_STATE  the state folder (target/real)
# TOWER_BEARER_REAL_PORT   the first of 40 ports (the first 40 in a row that are free)
# TOWER_BEARER_REAL_TTL    lifetime of an access token in seconds (8)
# TOWER_BEARER_REAL_ONLY   the servers that are needed, for a part of the tests (all)
source "$(dirname "$0")/process.sh"
servers="glewlwyd apache oidc-provider express api-keys python-apis node-apis envoy docker-registry etcd node-oauth2-server node-red python-issuers ejabberd"
# 0 to 7 are of these servers, 10 to 24 of APIs, 25 to 39 of authorization servers.
ports=40

servers=${TOWER_BEARER_REAL_ONLY:-$servers}

each() { for server in $servers; do "$here/$server.sh" "$1"; done; }

all_free() { # BASE
  local port
  for port in $(seq "$1" $(($1 + ports - 1))); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return 1; fi
  done
}

base_port() {
  local base
  for base in ${TOWER_BEARER_REAL_PORT:-$(seq 4590 "$ports" 4990)}; do
    if all_free "$base"; then echo "$base"; return; fi
  done
  echo "no $ports free ports from ${TOWER_BEARER_REAL_PORT:-4590}" >&2
  return 1
}

addresses() { # BASE
  local as=http://127.0.0.1:$1/api/oidc op=http://127.0.0.1:$(($1 + 6))
  cat <<ENV
TOWER_BEARER_REAL=1
REAL_SERVERS='$here/servers.sh'
REAL_PORT=$1
REAL_TTL=${TOWER_BEARER_REAL_TTL:-8}
REAL_CLIENT_ID=client1_id
REAL_CLIENT_SECRET=secret
REAL_USERNAME=user1
REAL_PASSWORD=password
REAL_WEIRD_CLIENT_ID=weird
REAL_WEIRD_CLIENT_SECRET='s%40+:/ &=~'
REAL_WEIRD_USERNAME='üser+2@x.test'
REAL_WEIRD_PASSWORD='p&=%+ wörd'
GLEWLWYD_ISSUER=$as
GLEWLWYD_TOKEN_URL=$as/token
GLEWLWYD_REVOKE_URL=$as/revoke
GLEWLWYD_INTROSPECT_URL=$as/introspect
GLEWLWYD_JWKS_URL=$as/jwks
GLEWLWYD_TLS_TOKEN_URL=https://localhost:$(($1 + 5))/api/oidc/token
GLEWLWYD_CA_FILE='$STATE/apache/ca.crt'
GLEWLWYD_SCOPE=scope1
APACHE_JWT_URL=http://127.0.0.1:$(($1 + 1))
APACHE_INTROSPECTION_URL=http://127.0.0.1:$(($1 + 2))
APACHE_OAUTH2_JWT_URL=http://127.0.0.1:$(($1 + 3))
APACHE_OAUTH2_INTROSPECTION_URL=http://127.0.0.1:$(($1 + 4))
OIDC_PROVIDER_ISSUER=$op
OIDC_PROVIDER_TOKEN_URL=$op/token
OIDC_PROVIDER_REVOKE_URL=$op/token/revocation
OIDC_PROVIDER_INTROSPECT_URL=$op/token/introspection
OIDC_PROVIDER_JWKS_URL=$op/jwks
OIDC_PROVIDER_SCOPE=read
OIDC_PROVIDER_USERINFO_URL=$op/me
OIDC_PROVIDER_FLEET_CLIENT_ID=fleet
OIDC_PROVIDER_LENIENT_CLIENT_ID=lenient-fleet
OIDC_PROVIDER_EVENTS='$STATE/oidc-provider/events'
OIDC_PROVIDER_KEY_CLIENT_ID=backend
OIDC_PROVIDER_KEY_FILE='$STATE/oidc-provider/backend.pem'
OIDC_PROVIDER_RSA_CLIENT_ID=backend-rsa
OIDC_PROVIDER_RSA_KEY_FILE='$STATE/oidc-provider/backend-rsa.pem'
OIDC_PROVIDER_HMAC_CLIENT_ID=backend-hmac
OIDC_PROVIDER_HMAC_CLIENT_SECRET='a client secret of 32 bytes or so'
EXPRESS_URL=http://127.0.0.1:$(($1 + 7))
API_KEY_FILE='$STATE/api-keys/key.pem'
API_OLD_KEY_FILE='$STATE/api-keys/old-key.pem'
API_PUBLIC_KEY_FILE='$STATE/api-keys/public.pem'
API_CERTIFICATE_FILE='$STATE/api-keys/certificate.pem'
FASTAPI_URL=http://127.0.0.1:$(($1 + 10))
FLASK_URL=http://127.0.0.1:$(($1 + 11))
DJANGO_URL=http://127.0.0.1:$(($1 + 12))
KEYCLOAK_CONNECT_URL=http://127.0.0.1:$(($1 + 13))
ENVOY_URL=http://127.0.0.1:$(($1 + 14))
DOCKER_REGISTRY_URL=http://127.0.0.1:$(($1 + 15))
ETCD_URL=http://127.0.0.1:$(($1 + 16))
APOLLO_URL=http://127.0.0.1:$(($1 + 18))
APOLLO_RESOLVER_URL=http://127.0.0.1:$(($1 + 19))
PASSPORT_URL=http://127.0.0.1:$(($1 + 20))
NODE_OAUTH2_SERVER_URL=http://127.0.0.1:$(($1 + 25))
NODE_RED_URL=http://127.0.0.1:$(($1 + 26))
AUTHLIB_URL=http://127.0.0.1:$(($1 + 27))
DJANGO_OAUTH_TOOLKIT_URL=http://127.0.0.1:$(($1 + 28))
EJABBERD_URL=http://127.0.0.1:$(($1 + 29))
ENV
}

case ${1:-} in
setup) each setup ;;
start)
  each stop
  base=$(base_port)
  addresses "$base" >"$STATE/env"
  set -a; source "$STATE/env"; set +a
  each start
  ;;
rotate-keys)
  set -a; source "$STATE/env"; set +a
  "$here/glewlwyd.sh" rotate-key
  "$here/oidc-provider.sh" rotate-key
  ;;
stop) each stop ;;
*) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
