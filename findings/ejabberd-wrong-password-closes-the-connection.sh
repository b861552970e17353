#!/bin/bash
# ejabberd 23.01 closes the connection instead of answering when a password grant has a wrong password.
#
# RFC 6749 section 5.2 requires a 400 with `invalid_grant`. The function that describes the error, `json_error_desc`, has no clause
# for `badpass`, so the handler of the request crashes. A client that takes this for a network failure tries again and again.
#
# Where it touches us: a connection that closes after the request was sent, without an answer, is not an outage
# (`Error::is_unanswered`), and the password is not sent again for 5 s.
# Needs ejabberd 23.01 (Debian 12) and curl. Output seen:
#   right password: status 200, curl exits with 0
#   wrong password: status 000, curl exits with 52
#   the log names json_error_desc and badpass
set -euo pipefail
folder=$(mktemp -d)
port=${PORT:-4589}
cat >"$folder/ejabberd.yml" <<CONF
loglevel: error
hosts: [localhost]
listen:
  - {port: $port, ip: 127.0.0.1, module: ejabberd_http, request_handlers: {/oauth: ejabberd_oauth}}
oauth_access: all
oauth_client_id_check: allow
modules: {}
CONF
libraries=$(dirname "$(dirname "$(dpkg -L ejabberd | grep '/ebin$')")")
HOME=$folder ERL_LIBS=$libraries EJABBERD_CONFIG_PATH=$folder/ejabberd.yml EJABBERD_LOG_PATH=$folder/log \
  setsid erl -noinput -mnesia dir "\"$folder/database\"" -eval '{ok, _} = application:ensure_all_started(ejabberd),
    ok = ejabberd_auth:try_register(<<"user1">>, <<"localhost">>, <<"right">>)' >"$folder/output" 2>&1 &
group=$!
trap 'kill -- "-$group"; rm -rf "$folder"' EXIT
ask() { # PASSWORD
  local status exit=0
  status=$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/oauth/token" \
    -d grant_type=password -d username=user1@localhost -d "password=$1") || exit=$?
  echo "$1 password: status $status, curl exits with $exit"
}
for _ in $(seq 100); do [ "$(ask right)" = "right password: status 200, curl exits with 0" ] && break; sleep 0.1; done
seen=$(ask right; ask wrong)
sleep 1
grep -q json_error_desc "$folder/log" && grep -q badpass "$folder/log" && seen+="
the log names json_error_desc and badpass"
echo "$seen"
[ "$seen" = "right password: status 200, curl exits with 0
wrong password: status 000, curl exits with 52
the log names json_error_desc and badpass" ]
