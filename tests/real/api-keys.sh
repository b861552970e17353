#!/bin/bash
# api-keys.sh setup|start|stop: the keys for the tokens of the APIs. The tests sign these tokens themselves, so a test can make a
# token that has expired, or that was signed with a key from before. Files in $STATE/api-keys:
#   key.pem, public.pem, certificate.pem   the key that all these APIs accept
#   old-key.pem                            a key that none of them accepts any more
source "$(dirname "$0")/process.sh"
dir=$STATE/api-keys

case ${1:-} in
setup) install_packages openssl ;;
start)
  rm -rf "$dir"
  mkdir -p "$dir"
  {
    openssl genrsa -traditional -out "$dir/old-key.pem" 2048
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/key.pem" -out "$dir/certificate.pem" -days 2 -subj '/CN=tower-bearer test issuer'
    openssl rsa -in "$dir/key.pem" -pubout -out "$dir/public.pem"
  } 2>"$dir/log"
  ;;
esac
