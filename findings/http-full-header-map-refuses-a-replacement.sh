#!/bin/bash
# http 1.5.0: a full `HeaderMap` refuses to replace the value of a header that it has. `try_entry` then says that the valid
# name is invalid.
#
# A map is full with 24,576 names. `try_insert` for one of them needs no room, and fails with `MaxSizeReached`. `insert` would panic.
#
# Where it touches us: the layer puts the token on requests that users and a gateway's clients made, so it uses `try_insert` and
# returns an error that says what to do (`Error::no_room_for_token` in `src/error/constructors.rs`).
# Needs cargo. Output seen:
#   full with 24576 names
#   try_insert of a name that is there: Err(MaxSizeReached)
#   get_mut of it: true
#   try_entry of it: Err(InvalidHeaderName)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[workspace]

[dependencies]
http = "=1.5.0"
TOML
cat >src/main.rs <<'RUST'
use http::{HeaderMap, HeaderName, HeaderValue};

fn main() {
    let value = HeaderValue::from_static("a");
    let mut map = HeaderMap::new();
    for index in 0.. {
        let name: HeaderName = format!("x-{index}").parse().unwrap();
        if map.try_insert(name, value.clone()).is_err() {
            break;
        }
    }
    println!("full with {} names", map.len());
    println!("try_insert of a name that is there: {:?}", map.try_insert("x-0", value).map(drop));
    println!("get_mut of it: {}", map.get_mut("x-0").is_some());
    println!("try_entry of it: {:?}", map.try_entry("x-0").map(drop));
}
RUST
seen=$(cargo run --quiet 2>cargo.log) || { cat cargo.log; exit 1; }
echo "$seen"
[ "$seen" = "full with 24576 names
try_insert of a name that is there: Err(MaxSizeReached)
get_mut of it: true
try_entry of it: Err(InvalidHeaderName)" ]
