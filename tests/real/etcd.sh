#!/bin/bash
# etcd.sh setup|start|stop: etcd with JWTs, which it signs itself, a Debian package. gRPC and the JSON gateway are on one port.
# The user `app` may read the key `foo`.
source "$(dirname "$0")/process.sh"
dir=$STATE/etcd

ask() { # PATH JSON
  curl -sf -o "$dir/answer" "$ETCD_URL/v3/$1" -d "$2" && return
  echo "etcd: $1 failed; its log ($dir/log) ends:" >&2
  tail -n 5 "$dir/log" >&2
  return 1
}

base64_of() { printf %s "$1" | base64; }

case ${1:-} in
setup) install_packages etcd-server curl ;;
start)
  rm -rf "$dir"
  mkdir -p "$dir"
  peer=http://127.0.0.1:$((${ETCD_URL##*:} + 1))
  spawn etcd etcd --data-dir "$dir/data" --listen-client-urls "$ETCD_URL" --advertise-client-urls "$ETCD_URL" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" --unsafe-no-fsync \
    --log-level warn --auth-token "jwt,pub-key=$API_PUBLIC_KEY_FILE,priv-key=$API_KEY_FILE,sign-method=RS256,ttl=10m"
  await etcd "$ETCD_URL/health"
  ask kv/put "{\"key\": \"$(base64_of foo)\", \"value\": \"$(base64_of bar)\"}"
  ask auth/user/add '{"name": "root", "password": "root"}'
  ask auth/role/add '{"name": "root"}'
  ask auth/user/grant '{"user": "root", "role": "root"}'
  ask auth/user/add '{"name": "app", "password": "secret"}'
  ask auth/role/add '{"name": "reader"}'
  ask auth/role/grant "{\"name\": \"reader\", \"perm\": {\"permType\": \"READ\", \"key\": \"$(base64_of foo)\"}}"
  ask auth/user/grant '{"user": "app", "role": "reader"}'
  ask auth/enable '{}'
  ;;
stop) end etcd ;;
esac
