//! A network that a test can cut: a TCP relay between a client and the gateway.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Relays connections to the gateway while it is mended; closes them, and every new one, while it
/// is cut.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    /// Where connections go; none while the line is cut.
    target: watch::Sender<Option<String>>,
}

impl Proxy {
    /// Listens on a port of its own and relays to a base URL such as `http://127.0.0.1:8090`.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(gateway: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (target, watched) = watch::channel(Some(host_and_port(gateway)?));
        tokio::spawn(accept(listener, watched));
        Ok(Self { address, target })
    }

    /// The proxy's base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.target.send_replace(None);
    }

    /// Lets connections through again, to this base URL.
    ///
    /// # Errors
    /// When it is not a URL.
    pub fn mend(&self, gateway: &str) -> Result<()> {
        self.target.send_replace(Some(host_and_port(gateway)?));
        Ok(())
    }
}

fn host_and_port(url: &str) -> Result<String> {
    let (_, rest) = url.split_once("://").context("not a URL")?;
    Ok(rest.trim_end_matches('/').to_owned())
}

async fn accept(listener: TcpListener, target: watch::Receiver<Option<String>>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(relay(client, target.clone()));
    }
}

async fn relay(mut client: TcpStream, mut target: watch::Receiver<Option<String>>) -> Result<()> {
    let Some(address) = target.borrow_and_update().clone() else {
        return Ok(());
    };
    let mut gateway = TcpStream::connect(address).await?;
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut gateway) => {}
        // Any change of the line ends the connection, with whatever is on its way.
        _ = target.changed() => {}
    }
    Ok(())
}
