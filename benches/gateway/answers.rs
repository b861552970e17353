//! The upstream of the throughput runs. It sends the same response to every request, as cheaply as possible, because it
//! shares its core with the load generator.
//!
//! ```text
//! answers ADDR
//! ```

use std::{error::Error, io};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const BODY: &str = r#"{"resourceType":"Patient","id":"123","active":true}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(std::env::args().nth(1).ok_or("no ADDR")?).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream));
    }
}

/// Serves a connection of requests without bodies, one at a time.
async fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut request = [0; 4096];
    let mut length = 0;
    loop {
        let read = stream.read(&mut request[length..]).await?;
        if read == 0 {
            return Ok(());
        }
        length += read;
        if request[..length].ends_with(b"\r\n\r\n") {
            stream.write_all(&answer(&request[..length])).await?;
            length = 0;
        }
    }
}

/// Returns the response. For `/seen`, it shows what the gateway added to the request.
fn answer(request: &[u8]) -> Vec<u8> {
    let seen = request.starts_with(b"GET /seen").then(|| String::from_utf8_lossy(request));
    let body = seen.as_deref().unwrap_or(BODY);
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: {length}\r\n\r\n{body}").into()
}
