#!/bin/bash
# apache.sh setup|start|stop: resource servers for glewlwyd's tokens, and a TLS front of glewlwyd. Debian packages.
#   port + 1  mod_auth_openidc, which checks the JWT's signature      port + 3  mod_oauth2, likewise
#   port + 2  mod_auth_openidc, which asks glewlwyd each time         port + 4  mod_oauth2, likewise
#   port + 5  TLS front of glewlwyd; its certificate is signed by $STATE/apache/ca.crt
# /patients accepts any valid token: GET returns a page, POST returns the body. /admin and /admin-403 require a scope
# that no user has, and respond with 401 (Apache's default) and 403.
source "$(dirname "$0")/process.sh"
dir=$STATE/apache
port=${REAL_PORT:-4590}
front=https://localhost:$((port + 5))

certificates() {
  local new="req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
  {
    openssl $new -x509 -keyout "$dir/ca.key" -out "$dir/ca.crt" -days 2 -subj '/CN=tower-bearer test CA'
    openssl $new -keyout "$dir/server.key" -out "$dir/server.csr" -subj /CN=localhost
    openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 2 -out "$dir/server.crt" \
      -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE')
  } 2>"$dir/openssl.log"
}

resource_server() { # OFFSET AUTH_TYPE IMPOSSIBLE, then the module's settings from stdin
  cat <<CONF
Listen 127.0.0.1:$((port + $1))
<VirtualHost 127.0.0.1:$((port + $1))>
$(cat)
# A page that every Debian system has, and that the worker's user may read. The reflector returns a POST's body.
AliasMatch "^/(patients|admin(-403)?)$" "/usr/share/apache2/default-site/index.html"
<LocationMatch "^/(patients|admin(-403)?)$">
  AuthType $2
  Require valid-user
  <If "%{REQUEST_METHOD} == 'POST'">
    SetHandler reflector
  </If>
</LocationMatch>
<LocationMatch "^/admin(-403)?$">
  Require $3
</LocationMatch>
<Location "/admin-403">
  AuthzSendForbiddenOnFailure On
</Location>
</VirtualHost>
CONF
}

configuration() {
  local credentials="client_id=$REAL_CLIENT_ID&client_secret=$REAL_CLIENT_SECRET"
  cat <<CONF
ServerRoot "$dir"
ServerName localhost
PidFile "$dir/apache.pid"
ErrorLog "$dir/error.log"
LogLevel warn
DefaultRuntimeDir "$dir"
# The workers cannot open a lock file below a private home.
Mutex sem
User www-data
Group www-data
StartServers 1
ThreadsPerChild 32
MaxRequestWorkers 64
$(for module in mpm_event authn_core authz_core authz_user alias reflector socache_shmcb auth_openidc oauth2 ssl proxy proxy_http; do
    echo "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"
  done)
<Directory "/usr/share/apache2/default-site">
  Require all granted
</Directory>
OIDCCABundlePath "$dir/ca.crt"
CONF
  # mod_auth_openidc connects to an authorization server over TLS only.
  resource_server 1 oauth20 'claim scope~\bnobody\b' <<CONF
OIDCOAuthVerifyJwksUri ${front}/api/oidc/jwks
OIDCOAuthRemoteUserClaim client_id
CONF
  resource_server 2 oauth20 'claim scope~\bnobody\b' <<CONF
OIDCOAuthIntrospectionEndpoint ${front}/api/oidc/introspect
OIDCOAuthIntrospectionEndpointAuth client_secret_basic
OIDCOAuthClientID $REAL_CLIENT_ID
OIDCOAuthClientSecret $REAL_CLIENT_SECRET
OIDCOAuthRemoteUserClaim client_id
# -1: no result is cached.
OIDCOAuthTokenIntrospectionInterval -1
CONF
  resource_server 3 oauth2 'oauth2_claim scope:nobody' <<CONF
OAuth2TokenVerify jwks_uri $GLEWLWYD_JWKS_URL ssl_verify=false&expiry=1
OAuth2TargetPass remote_user_claim=client_id
CONF
  resource_server 4 oauth2 'oauth2_claim scope:nobody' <<CONF
OAuth2TokenVerify introspect $GLEWLWYD_INTROSPECT_URL introspect.auth=client_secret_basic&$credentials&expiry=1
OAuth2TargetPass remote_user_claim=client_id
CONF
  cat <<CONF
Listen 127.0.0.1:$((port + 5))
<VirtualHost 127.0.0.1:$((port + 5))>
SSLEngine on
SSLCertificateFile "$dir/server.crt"
SSLCertificateKeyFile "$dir/server.key"
ProxyPass / http://127.0.0.1:$port/
</VirtualHost>
CONF
}

case ${1:-} in
setup) install_packages apache2 libapache2-mod-auth-openidc libapache2-mod-oauth2 curl openssl procps ;;
start)
  rm -rf "$dir"
  mkdir -p "$dir"
  certificates
  configuration >"$dir/httpd.conf"
  spawn apache apache2 -D FOREGROUND -f "$dir/httpd.conf"
  await apache "http://127.0.0.1:$((port + 1))/"
  ;;
stop) end apache ;;
esac
