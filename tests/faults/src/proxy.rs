//! A TCP proxy with faults, between the gateway and one of its servers. With TLS, it is the server of TLS, and passes on what is inside.

use std::{
    future::pending,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

use crate::{
    fault::{Fault, STALL},
    tls::Tls,
};

pub type Now = watch::Receiver<Option<Fault>>;

pub struct Proxy {
    pub port: u16,
    fault: watch::Sender<Option<Fault>>,
    accepted: Arc<AtomicU64>,
}

/// How a connection ends.
enum End {
    Close,
    Reset,
    /// It stays open and silent.
    Silence,
}

impl Proxy {
    /// Starts a proxy for the server on `target`, a port of loopback.
    pub async fn start(target: u16, tls: Option<Tls>) -> Self {
        let listener = listen(0).await;
        let port = listener.local_addr().expect("a bound socket").port();
        let (fault, accepted) = (watch::Sender::new(None), Arc::default());
        tokio::spawn(accept(listener, port, target, tls, fault.subscribe(), Arc::clone(&accepted)));
        Self { port, fault, accepted }
    }

    pub fn set(&self, fault: Option<Fault>) {
        self.fault.send_replace(fault);
    }

    /// For a server that makes its faults itself.
    pub fn subscribe(&self) -> Now {
        self.fault.subscribe()
    }

    /// Returns how many connections were accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }
}

async fn listen(port: u16) -> TcpListener {
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => return listener,
            // For a moment, an outgoing connection may have the port.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn accept(
    listener: TcpListener,
    port: u16,
    target: u16,
    tls: Option<Tls>,
    mut fault: Now,
    accepted: Arc<AtomicU64>,
) {
    let mut listener = Some(listener);
    loop {
        if *fault.borrow_and_update() == Some(Fault::Refused) {
            listener = None;
            if fault.changed().await.is_err() {
                return;
            }
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => listen(port).await,
        };
        tokio::select! {
            connection = open.accept() => {
                if let Ok((client, _)) = connection {
                    accepted.fetch_add(1, Relaxed);
                    tokio::spawn(serve(client, target, tls.clone(), fault.clone()));
                }
            }
            changed = fault.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
        listener = Some(open);
    }
}

async fn serve(mut client: TcpStream, target: u16, tls: Option<Tls>, fault: Now) {
    let _ = client.set_nodelay(true);
    let now = *fault.borrow();
    let Some(tls) = tls else {
        let end = pass(&mut client, target, fault).await;
        return finish(client, end, |client| client).await;
    };
    if now == Some(Fault::TlsGarbage) {
        let _ = client.write_all(&garbage()).await;
        return;
    }
    // A client that does not trust the certificate ends it.
    if let Ok(mut client) = tls.acceptor(now == Some(Fault::WrongCertificate)).accept(client).await {
        let end = pass(&mut client, target, fault).await;
        finish(client, end, |client| client.get_ref().0).await;
    }
}

async fn finish<S: AsyncRead + Unpin>(mut client: S, end: End, tcp: impl Fn(&S) -> &TcpStream) {
    match end {
        End::Close => {}
        End::Reset => {
            // Then closing the socket sends a reset.
            let _ = tcp(&client).set_zero_linger();
        }
        End::Silence => {
            let _ = copy(&mut client, &mut sink()).await;
        }
    }
}

/// Passes bytes on in both directions, as the fault of the moment says.
async fn pass<S: AsyncRead + AsyncWrite + Unpin>(client: &mut S, target: u16, mut fault: Now) -> End {
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return End::Reset };
    let _ = server.set_nodelay(true);
    let (mut from_client, mut from_server) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        let now = *fault.borrow_and_update();
        match now {
            Some(Fault::HalfOpen) => return End::Silence,
            Some(now) if now.ends_open_connections() => return End::Reset,
            _ => {}
        }
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(1..) = read else { return End::Close };
                let bytes = &from_client[..read.unwrap_or_default()];
                let now = *fault.borrow();
                match now {
                    Some(Fault::ResetBefore) => return End::Reset,
                    Some(Fault::Garbage) => {
                        let _ = client.write_all(&garbage()).await;
                        return End::Close;
                    }
                    Some(Fault::Stall) => sleep(STALL).await,
                    _ => {}
                }
                if server.write_all(bytes).await.is_err() {
                    return End::Reset;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(1..) = read else { return End::Close };
                let bytes = &from_server[..read.unwrap_or_default()];
                let now = *fault.borrow();
                let written = match now {
                    Some(cut @ (Fault::ResetWhile | Fault::SilentWhile)) => {
                        let _ = client.write_all(&bytes[..bytes.len() - bytes.len() / 4]).await;
                        let _ = client.flush().await;
                        sleep(Duration::from_millis(5)).await;
                        return if cut == Fault::ResetWhile { End::Reset } else { End::Silence };
                    }
                    Some(Fault::ResetAfter) => {
                        let _ = client.write_all(bytes).await;
                        let _ = client.flush().await;
                        sleep(Duration::from_millis(2)).await;
                        return End::Reset;
                    }
                    Some(Fault::Trickle) => trickle(client, bytes, &mut fault).await,
                    Some(Fault::Stall) => {
                        sleep(STALL).await;
                        client.write_all(bytes).await
                    }
                    _ => client.write_all(bytes).await,
                };
                if written.is_err() || client.flush().await.is_err() {
                    return End::Reset;
                }
            }
            () = changes(&mut fault) => {}
        }
    }
}

/// Waits until the fault changes.
async fn changes(fault: &mut Now) {
    if fault.changed().await.is_err() {
        pending::<()>().await;
    }
}

/// Writes one byte a second, and all of the rest as soon as the fault ends.
async fn trickle<S: AsyncWrite + Unpin>(client: &mut S, bytes: &[u8], fault: &mut Now) -> std::io::Result<()> {
    for (written, byte) in bytes.iter().enumerate() {
        if *fault.borrow() != Some(Fault::Trickle) {
            return client.write_all(&bytes[written..]).await;
        }
        client.write_all(&[*byte]).await?;
        client.flush().await?;
        tokio::select! {
            () = sleep(Duration::from_secs(1)) => {}
            () = changes(fault) => {}
        }
    }
    Ok(())
}

/// No protocol begins with its first byte.
fn garbage() -> Vec<u8> {
    let mut bytes: Vec<_> = (0..fastrand::usize(64..512)).map(|_| fastrand::u8(..)).collect();
    bytes[0] = 0xff;
    bytes
}
