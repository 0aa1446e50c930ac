//! A web server for plugins to send requests to: it answers by the path, and remembers who asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The longest head of a request that a test sends.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Ends with the value.
#[derive(Debug)]
pub struct Web {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    /// Dropped with the value, and its task with it.
    _accepting: JoinSet<()>,
}

impl Web {
    /// Listens on a free port of this address. `/ok` answers 200; `/redirect?URL` answers 302 to the
    /// URL; `/slow` answers after `delay`; everything else answers 404.
    ///
    /// # Errors
    /// When the address has no free port.
    pub async fn start(ip: &str, delay: Duration) -> Result<Self> {
        Self::start_at(ip, 0, delay).await
    }

    /// As [`Web::start`], on this port.
    ///
    /// # Errors
    /// When it is not free.
    pub async fn start_at(ip: &str, port: u16, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind((ip, port)).await?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&asked), delay));
        Ok(Self {
            address,
            asked,
            _accepting: accepting,
        })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// A URL of this server by its address.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The paths that were asked for, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

async fn accept(listener: TcpListener, asked: Arc<Mutex<Vec<String>>>, delay: Duration) {
    let mut answering = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        answering.spawn(answer(stream, Arc::clone(&asked), delay));
    }
}

/// One request of one connection: without keep-alive, so that each request dials anew.
async fn answer(
    mut stream: TcpStream,
    asked: Arc<Mutex<Vec<String>>>,
    delay: Duration,
) -> Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head);
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(path.clone());
    let (status, location) = match path.split_once('?') {
        Some(("/redirect", url)) => ("302 Found", format!("Location: {url}\r\n")),
        _ if path == "/ok" => ("200 OK", String::new()),
        _ if path == "/slow" => {
            tokio::time::sleep(delay).await;
            ("200 OK", String::new())
        }
        _ => ("404 Not Found", String::new()),
    };
    let answer =
        format!("HTTP/1.1 {status}\r\n{location}Content-Length: 2\r\nConnection: close\r\n\r\nok");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}
