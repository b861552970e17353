#!/bin/bash
# reqwest 0.13.5: a proxy of the environment also gets requests for loopback, unless NO_PROXY names it.
#
# Plain http to loopback is not sent in the clear over a network, so the layer puts a token on it. With `http_proxy` set, reqwest sends that
# request, with its `Authorization` header, to the proxy.
#
# Where it touches us: only documentation. A service below the layer decides by itself how a host is reached. The README of
# `crates/tower-bearer-reqwest` says it, and `.ci/run` sets NO_PROXY for the tests. The crate's own client for token requests never uses a
# proxy for loopback.
# Needs cargo. Output seen:
#   the proxy got: GET http://127.0.0.1:1/patient HTTP/1.1 authorization: Bearer secret
#   with NO_PROXY=127.0.0.1, the proxy got nothing: true
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
reqwest = { version = "=0.13.5", default-features = false }
tokio = { version = "1", features = ["full"] }
TOML
cat >src/main.rs <<'RUST'
use tokio::{io::AsyncReadExt, net::TcpListener};

#[tokio::main]
async fn main() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    // No other thread reads the environment yet.
    unsafe { std::env::set_var("http_proxy", &url) };
    let send = || reqwest::Client::new().get("http://127.0.0.1:1/patient").bearer_auth("secret").send();
    tokio::spawn(send());
    let (mut stream, _) = proxy.accept().await.unwrap();
    let mut head = vec![0; 1024];
    let read = stream.read(&mut head).await.unwrap();
    let head = String::from_utf8_lossy(&head[..read]).into_owned();
    let lines: Vec<_> = head.lines().filter(|line| line.starts_with("GET") || line.starts_with("auth")).collect();
    println!("the proxy got: {}", lines.join(" "));
    unsafe { std::env::set_var("no_proxy", "127.0.0.1") };
    let refused = send().await.is_err_and(|error| error.is_connect());
    println!("with NO_PROXY=127.0.0.1, the proxy got nothing: {refused}");
}
RUST
seen=$(env -u no_proxy -u NO_PROXY -u HTTP_PROXY cargo run --quiet 2>cargo.log) || { cat cargo.log; exit 1; }
echo "$seen"
[ "$seen" = "the proxy got: GET http://127.0.0.1:1/patient HTTP/1.1 authorization: Bearer secret
with NO_PROXY=127.0.0.1, the proxy got nothing: true" ]
