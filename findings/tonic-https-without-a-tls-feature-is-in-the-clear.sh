#!/bin/bash
# tonic 0.14.9: without one of its TLS features, a client connects to an `https://` endpoint in the clear, and says nothing. The server
# sees the start of HTTP/2, and headers with a token would follow. With a TLS feature, an endpoint without a `tls_config` is an error.
#
# Where it touches us: the layer takes `https://` for secure. The guide for tonic says to turn on a TLS feature (`docs/tonic.md`).
# Needs cargo. Output seen:
#   the server of https://… read "PRI * HTTP/2.0"
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
tokio = { version = "1.51", features = ["full"] }
tonic = { version = "=0.14.9", default-features = false, features = ["channel", "codegen"] }
tower-service = "0.3"
TOML
cat >src/main.rs <<'RUST'
use tokio::{io::AsyncReadExt, net::TcpListener};
use tonic::{body::Body, transport::Endpoint};
use tower_service::Service;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = Endpoint::from_shared(format!("https://{}", listener.local_addr()?))?;
    tokio::spawn(async move {
        let mut channel = endpoint.connect_lazy();
        std::future::poll_fn(|task| channel.poll_ready(task)).await.map(|()| channel.call(http_request()))?.await
    });
    let (mut connection, _) = listener.accept().await?;
    let mut start = [0; 14];
    connection.read_exact(&mut start).await?;
    println!("the server of https://… read {:?}", String::from_utf8_lossy(&start));
    Ok(())
}

fn http_request() -> tonic::codegen::http::Request<Body> {
    tonic::codegen::http::Request::new(Body::empty())
}
RUST
cargo run --quiet
