#!/bin/bash
# ring 0.17.14 signs with RSA keys of 2048, 3072 and 4096 bits, but not of the sizes between.
#
# Its documentation names 2048 bits as the least and 4096 as the most. A key of 2560 bits, which OpenSSL makes and
# aws-lc accepts, is refused: each prime must have a multiple of 512 bits.
#
# Where it touches us: `SigningKey` signs with ring, and names the three sizes in its documentation and its error.
# Needs cargo and openssl. Output seen:
#   2048: accepted
#   2560: PrivateModulusLenNotMultipleOf512Bits
#   3072: accepted
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for bits in 2048 2560 3072; do
  openssl genpkey -algorithm RSA -pkeyopt "rsa_keygen_bits:$bits" -out key.pem 2>/dev/null
  openssl pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out "$bits.der"
done
cargo init --quiet --name finding --vcs none .
echo 'ring = "=0.17.14"' >>Cargo.toml
cat >src/main.rs <<'RUST'
fn main() {
    for bits in ["2048", "2560", "3072"] {
        let der = std::fs::read(format!("{bits}.der")).unwrap();
        let key = ring::rsa::KeyPair::from_pkcs8(&der);
        match key {
            Ok(_) => println!("{bits}: accepted"),
            Err(error) => println!("{bits}: {error}"),
        }
    }
}
RUST
seen=$(cargo run --quiet)
echo "$seen"
[ "$seen" = "2048: accepted
2560: PrivateModulusLenNotMultipleOf512Bits
3072: accepted" ]
