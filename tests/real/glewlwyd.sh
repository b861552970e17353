#!/bin/bash
# glewlwyd.sh setup|start|rotate-key|stop: the authorization server, a Debian package.
# RS256 tokens. A refresh token can be used once. Revocation and introspection require the client's credentials.
source "$(dirname "$0")/process.sh"
dir=$STATE/glewlwyd
url=http://127.0.0.1:${REAL_PORT:-4590}

admin() { # METHOD PATH JSON: one request to the administrator's API
  local status
  status=$(curl -s -b "$dir/cookies" -c "$dir/cookies" -X "$1" -H 'Content-Type: application/json' \
    -o "$dir/answer" -w '%{http_code}' "$url/api$2" --data-binary "$3")
  [ "$status" = 200 ] && return
  echo "glewlwyd: $1 $2 answered $status $(<"$dir/answer")" >&2
  return 1
}

scope() { admin POST /scope/ "$(jq -n --arg name "$1" '{$name, display_name: $name, password_required: true, password_max_age: 0, scheme: {}}')"; }

user() { # NAME PASSWORD
  admin POST /user/ "$(jq -n --arg username "$1" --arg password "$2" \
    '{$username, $password, name: $username, email: "u@example.test", enabled: true, scope: ["scope1"]}')"
}

client() { # ID SECRET GRANTS
  admin POST /client/ "$(jq -n --arg client_id "$1" --arg secret "$2" --arg grants "$3" \
    '{$client_id, name: $client_id, client_secret: $secret, password: $secret, confidential: true, enabled: true,
      scope: ["scope1", "scope2"], redirect_uri: ["http://127.0.0.1/cb"], authorization_type: ($grants / " "),
      token_endpoint_auth_method: ["client_secret_basic", "client_secret_post"]}')"
}

issuer() { # the settings of the OpenID Connect plugin, with a key made for them
  openssl genrsa -out "$dir/key.pem" 2048 2>/dev/null
  openssl rsa -in "$dir/key.pem" -pubout -out "$dir/public.pem" 2>/dev/null
  jq -n --arg iss "$url/api/oidc" --argjson ttl "$REAL_TTL" --rawfile key "$dir/key.pem" --rawfile cert "$dir/public.pem" \
    --arg kid "$(date +%s%N)" \
    '{module: "oidc", name: "oidc", display_name: "oidc", parameters: {
      $iss, $key, $cert, "default-kid": $kid, "jwt-type": "rsa", "jwt-key-size": "256", "jwks-show": true, "subject-type": "public",
      "access-token-duration": $ttl, "refresh-token-duration": 3600, "code-duration": 600,
      "refresh-token-rolling": true, "refresh-token-one-use": "always",
      "allow-non-oidc": true, "allowed-scope": ["openid", "scope1", "scope2"],
      "auth-type-password-enabled": true, "auth-type-client-enabled": true, "auth-type-refresh-enabled": true,
      "auth-type-code-enabled": true, "auth-type-token-enabled": false, "auth-type-id-token-enabled": false,
      "introspection-revocation-allowed": true, "introspection-revocation-allow-target-client": true,
      "introspection-revocation-auth-scope": []}}'
}

case ${1:-} in
setup)
  install_packages debconf
  # Without an answer to this question the package fails to install.
  echo 'glewlwyd glewlwyd/config_type select No configuration' | as_root debconf-set-selections
  install_packages glewlwyd dbconfig-no-thanks sqlite3 curl jq openssl procps
  ;;
start)
  rm -rf "$dir"
  mkdir -p "$dir"
  sqlite3 "$dir/glewlwyd.db" </usr/share/dbconfig-common/data/glewlwyd/install/sqlite3
  cat >"$dir/glewlwyd.conf" <<CONF
port=${url##*:}
bind_address="127.0.0.1"
external_url="$url"
login_url="login.html"
api_prefix="api"
log_mode="console"
log_level="WARNING"
session_expiration=86400
session_key="GLEWLWYD2_SESSION_ID"
admin_session_authentication="cookie"
profile_session_authentication="cookie"
login_api_enabled=true
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="/usr/lib/glewlwyd/user"
client_module_path="/usr/lib/glewlwyd/client"
user_auth_scheme_module_path="/usr/lib/glewlwyd/scheme"
plugin_module_path="/usr/lib/glewlwyd/plugin"
hash_algorithm="SHA512"
database = { type="sqlite3"; path="$dir/glewlwyd.db"; };
CONF
  spawn glewlwyd glewlwyd -c "$dir/glewlwyd.conf"
  await glewlwyd "$url/config"
  admin POST /auth/ '{"username": "admin", "password": "password"}'
  scope scope1
  scope scope2
  user "$REAL_USERNAME" "$REAL_PASSWORD"
  user "$REAL_WEIRD_USERNAME" "$REAL_WEIRD_PASSWORD"
  client "$REAL_CLIENT_ID" "$REAL_CLIENT_SECRET" "password refresh_token client_credentials"
  client "$REAL_WEIRD_CLIENT_ID" "$REAL_WEIRD_CLIENT_SECRET" "password refresh_token client_credentials"
  client nogrant secret code
  admin POST /mod/plugin/ "$(issuer)"
  ;;
rotate-key)
  admin PUT /mod/plugin/oidc "$(issuer)"
  admin PUT /mod/plugin/oidc/reset ''
  ;;
stop) end glewlwyd ;;
esac
