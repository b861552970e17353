//! Does what the runner says on standard input, by a function that sends one request: `at-once N`, `in-turn N`, `paced N RATE`,
//! `upload`. Prints the answer of each request on a line: its status, or `error`.

use std::{convert::Infallible, env, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, future::BoxFuture, stream};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type Answer = BoxFuture<'static, Result<u16, BoxError>>;

pub const CLIENT: &str = "compare-client";
pub const REFRESH_TOKEN: &str = "compare-refresh";

#[must_use]
pub fn secret() -> String {
    env::var("COMPARE_SECRET").expect("the runner sets it")
}

#[must_use]
pub fn url(path: &str) -> String {
    env::var("COMPARE_URL").expect("the runner sets it") + path
}

/// 1,000,000 bytes, in chunks that come one after the other.
pub fn chunks() -> impl Stream<Item = Result<Bytes, Infallible>> + Send + Sync + 'static {
    stream::iter(0..100).then(|_| async {
        sleep(Duration::from_millis(2)).await;
        Ok(Bytes::from_static(&[b'x'; 10_000]))
    })
}

/// Reads an answer of reqwest 0.12.
pub async fn status(response: reqwest12::Response) -> Result<u16, BoxError> {
    let status = response.status().as_u16();
    response.bytes().await?;
    Ok(status)
}

async fn one(request: Answer) {
    match request.await {
        Ok(status) => println!("{status}"),
        Err(error) => {
            eprintln!("{error}");
            println!("error");
        }
    }
}

pub async fn drive(send: impl Fn() -> Answer + Send + Sync + 'static, upload: impl Fn() -> Answer) {
    let send = Arc::new(send);
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await.expect("standard input") {
        let mut words = line.split(' ');
        let name = words.next();
        let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
        match name {
            Some("at-once") => {
                (0..number()).map(|_| one(send())).collect::<JoinSet<()>>().join_all().await;
            }
            Some("in-turn") => {
                for _ in 0..number() {
                    one(send()).await;
                }
            }
            Some("paced") => {
                let (count, rate, start) = (number(), number(), Instant::now());
                let mut running = JoinSet::new();
                for turn in 0..count {
                    sleep_until(start + Duration::from_secs(1) * turn / rate).await;
                    running.spawn(one(send()));
                }
                running.join_all().await;
            }
            Some("upload") => one(upload()).await,
            _ => panic!("{line} is not a command"),
        }
    }
}
