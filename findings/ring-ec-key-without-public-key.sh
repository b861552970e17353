#!/bin/bash
# ring 0.17.14 refuses an EC private key in PKCS#8 that does not contain its public key.
#
# RFC 5915 section 3 makes the public key optional, and it can be computed from the private one. OpenSSL writes it by
# default; some other programs do not. aws-lc and OpenSSL accept both forms.
#
# Where it touches us: `SigningKey` signs with ring, and says in its documentation and its error that the public key must be
# in the PEM text.
# Needs cargo and openssl. Output seen:
#   with public key: accepted
#   without public key: InvalidEncoding
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
openssl pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out with.der
openssl ec -in key.pem -no_public -out private-only.pem 2>/dev/null
openssl pkcs8 -topk8 -nocrypt -in private-only.pem -outform DER -out without.der
openssl pkey -inform DER -in without.der -noout
cargo init --quiet --name finding --vcs none .
echo 'ring = "=0.17.14"' >>Cargo.toml
cat >src/main.rs <<'RUST'
use ring::{rand::SystemRandom, signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair}};

fn main() {
    for name in ["with", "without"] {
        let der = std::fs::read(format!("{name}.der")).unwrap();
        match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new()) {
            Ok(_) => println!("{name} public key: accepted"),
            Err(error) => println!("{name} public key: {error}"),
        }
    }
}
RUST
seen=$(cargo run --quiet)
echo "$seen"
[ "$seen" = "with public key: accepted
without public key: InvalidEncoding" ]
