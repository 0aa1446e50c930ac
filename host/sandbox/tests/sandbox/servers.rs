//! HTTP servers on loopback, one request a connection.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What a server does with a request.
pub(crate) enum Reply {
    /// It sends this, and closes the connection.
    Bytes(Vec<u8>),
    /// It holds the connection and says nothing.
    Silence,
}

/// What requests look like, head and body as they came.
pub(crate) type Seen = Arc<Mutex<Vec<String>>>;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Seen,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers each request by its text.
    pub(crate) fn start(answer: impl Fn(&str) -> Reply + Send + 'static) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), 0, answer)
    }

    pub(crate) fn start_on(
        address: IpAddr,
        port: u16,
        answer: impl Fn(&str) -> Reply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, port)).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stopped) = (Seen::default(), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (seen, stopped) = (Arc::clone(&seen), Arc::clone(&stopped));
            move || serve(&listener, &seen, &stopped, answer)
        });
        Self {
            address,
            seen,
            stopped,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes it up.
        drop(TcpStream::connect(self.address));
        let _ = self.thread.take().unwrap().join();
    }
}

fn serve(
    listener: &TcpListener,
    seen: &Seen,
    stopped: &AtomicBool,
    answer: impl Fn(&str) -> Reply,
) {
    let mut held = Vec::new();
    for stream in listener.incoming() {
        if stopped.load(Ordering::Acquire) {
            return;
        }
        let mut stream = stream.unwrap();
        let request = read_request(&mut stream);
        seen.lock().unwrap().push(request.clone());
        match answer(&request) {
            // A client that has heard enough hangs up.
            Reply::Bytes(bytes) => drop(stream.write_all(&bytes)),
            Reply::Silence => held.push(stream),
        }
    }
}

/// One request, by its `content-length`.
pub(crate) fn read_request(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next()?.parse().ok());
            if bytes.len() >= end + 4 + length.unwrap_or(0) {
                break;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => bytes.extend(&buffer[..read]),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

/// 200 with a body.
pub(crate) fn ok(body: &str) -> Reply {
    let length = body.len();
    Reply::Bytes(
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
            .into_bytes(),
    )
}

/// A redirect with this status.
pub(crate) fn redirect(status: u16, location: &str) -> Reply {
    Reply::Bytes(
        format!("HTTP/1.1 {status} Elsewhere\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .into_bytes(),
    )
}
