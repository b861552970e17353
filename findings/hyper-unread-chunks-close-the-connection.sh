#!/bin/bash
# hyper 1.12.0: an HTTP/1.1 answer that is dropped unread closes its connection if its body came in two chunks or more, although all
# of it had arrived. With a Content-Length, or in one chunk, the connection is used again.
#
# Where it touches us: the layer reads the rest of a rejected answer before its second attempt (`src/drain.rs`, decision 25).
# Without that, a revocation would cost a gateway its connections.
# Needs cargo. Output seen:
#   content-length: 10 answers, 1 connections
#   one chunk: 10 answers, 1 connections
#   two chunks: 10 answers, 10 connections
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
bytes = "=1.11.1"
http-body-util = "=0.1.5"
hyper = { version = "=1.12.0", features = ["client", "http1"] }
hyper-util = { version = "=0.1.21", features = ["client-legacy", "http1", "tokio"] }
tokio = { version = "1.48", features = ["full"] }
TOML
cat >src/main.rs <<'RUST'
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::sleep,
};

#[tokio::main]
async fn main() {
    for (name, rest) in [
        ("content-length", "content-length: 5\r\n\r\nwrong"),
        ("one chunk", "transfer-encoding: chunked\r\n\r\n5\r\nwrong\r\n0\r\n\r\n"),
        ("two chunks", "transfer-encoding: chunked\r\n\r\n3\r\nwro\r\n2\r\nng\r\n0\r\n\r\n"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: hyper::Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let connections = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut head = vec![0; 4096];
                    while socket.read(&mut head).await.unwrap_or(0) > 0 {
                        let answer = format!("HTTP/1.1 401 Unauthorized\r\n{rest}");
                        socket.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        for _ in 0..10 {
            let answer = client.get(url.clone()).await.unwrap();
            sleep(Duration::from_millis(50)).await; // All of the answer has arrived.
            drop(answer);
            sleep(Duration::from_millis(50)).await;
        }
        println!("{name}: 10 answers, {} connections", connections.load(Ordering::Relaxed));
    }
}
RUST
seen=$(cargo run --quiet 2>cargo.log) || { cat cargo.log; exit 1; }
echo "$seen"
[ "$seen" = "content-length: 10 answers, 1 connections
one chunk: 10 answers, 1 connections
two chunks: 10 answers, 10 connections" ]
