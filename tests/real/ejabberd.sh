#!/bin/bash
# ejabberd.sh setup|start|stop: the password grant of an XMPP server, and an API command that its tokens allow; a Debian package.
source "$(dirname "$0")/process.sh"
dir=$STATE/ejabberd

case ${1:-} in
setup) install_packages ejabberd curl procps ;;
start)
  rm -rf "$dir"
  mkdir -p "$dir"
  cat >"$dir/ejabberd.yml" <<CONF
loglevel: none
hosts: [localhost]
listen:
  - port: ${EJABBERD_URL##*:}
    ip: 127.0.0.1
    module: ejabberd_http
    request_handlers: {/oauth: ejabberd_oauth, /api: mod_http_api}
api_permissions:
  by token:
    who: {oauth: {scope: [connected_users_number], access: [{allow: all}]}}
    what: [connected_users_number]
oauth_access: all
oauth_client_id_check: allow
modules: {}
CONF
  user=$(printf 'ejabberd_auth:try_register(<<"%s">>, <<"localhost">>, <<"%s">>)' "$REAL_USERNAME" "$REAL_PASSWORD")
  HOME=$dir ERL_LIBS=$(dirname "$(dirname "$(dpkg -L ejabberd | grep '/ebin$')")") EJABBERD_CONFIG_PATH=$dir/ejabberd.yml \
    EJABBERD_LOG_PATH=$dir/ejabberd.log \
    spawn ejabberd erl -noinput -mnesia dir "\"$dir/database\"" -eval "{ok, _} = application:ensure_all_started(ejabberd), ok = $user"
  await ejabberd "$EJABBERD_URL/"
  # The user is registered after the port is open.
  for _ in $(seq 200); do
    curl -s -o /dev/null "$EJABBERD_URL/oauth/token" -d "grant_type=password&username=$REAL_USERNAME@localhost&password=$REAL_PASSWORD" && exit
    sleep 0.05
  done
  echo "ejabberd has no user; its log ($dir/log) ends:" >&2
  tail -n 20 "$dir/log" >&2
  exit 1
  ;;
stop) end ejabberd ;;
esac
