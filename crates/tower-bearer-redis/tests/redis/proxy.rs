//! A proxy whose open connections can go deaf, while new ones work.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub(crate) struct Proxy {
    address: SocketAddr,
    deaf: watch::Sender<()>,
}

impl Proxy {
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let deaf = watch::Sender::new(());
        let subscribe = deaf.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut deafened = subscribe.subscribe();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        // Both connections stay open, and nothing is passed on.
                        _ = deafened.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, deaf }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Passes on nothing more over the connections that are open now.
    pub(crate) fn deafen(&self) {
        self.deaf.send(()).unwrap();
    }
}
