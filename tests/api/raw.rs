//! An API of raw HTTP/1.1 on loopback.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// What the API received.
#[derive(Clone, Default)]
pub(crate) struct Taken {
    pub(crate) connections: usize,
    /// The heads of the requests, as they arrived.
    pub(crate) heads: Vec<String>,
}

/// Sends these responses in order, to requests without a body.
pub(crate) async fn api<A>(answers: impl IntoIterator<Item = A>) -> (SocketAddr, Arc<Mutex<Taken>>)
where
    A: Into<String>,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let answers: Vec<String> = answers.into_iter().map(Into::into).collect();
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let taken = Arc::new(Mutex::new(Taken::default()));
    let shared = Arc::clone(&taken);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            shared.lock().unwrap().connections += 1;
            let (answers, taken) = (Arc::clone(&answers), Arc::clone(&shared));
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(byte @ 1..) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        let head = String::from_utf8(std::mem::take(&mut head)).unwrap();
                        taken.lock().unwrap().heads.push(head);
                        let answer = answers.lock().unwrap().next().unwrap();
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            });
        }
    });
    (addr, taken)
}
