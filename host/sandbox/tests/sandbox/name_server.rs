//! A name server on loopback that answers what a test says (RFC 1035).

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

const ADDRESS_RECORD: u16 = 1;
const HEADER_BYTES: usize = 12;

pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<HashMap<String, usize>>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Answers with the addresses that `answer` gives for a name and the number of times that it
    /// was asked for before.
    pub(crate) fn start(answer: impl Fn(&str, usize) -> Vec<Ipv4Addr> + Send + 'static) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::<Mutex<HashMap<_, _>>>::default();
        let stopped = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (asked, stopped) = (Arc::clone(&asked), Arc::clone(&stopped));
            move || {
                let mut query = [0; 512];
                loop {
                    let (bytes, client) = socket.recv_from(&mut query).unwrap();
                    if stopped.load(Ordering::Acquire) {
                        return;
                    }
                    let answered = answered(&query[..bytes], &asked, &answer);
                    socket.send_to(&answered, client).unwrap();
                }
            }
        });
        Self {
            address,
            asked,
            stopped,
            thread: Some(thread),
        }
    }

    /// How often the address of a name was asked for.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        let waker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        waker.send_to(&[0], self.address).unwrap();
        let _ = self.thread.take().unwrap().join();
    }
}

fn answered(
    query: &[u8],
    asked: &Mutex<HashMap<String, usize>>,
    answer: &impl Fn(&str, usize) -> Vec<Ipv4Addr>,
) -> Vec<u8> {
    let (name, end) = name(query);
    let kind = u16::from_be_bytes([query[end], query[end + 1]]);
    let addresses = match kind {
        ADDRESS_RECORD => {
            let mut asked = asked.lock().unwrap();
            let before = asked.entry(name.clone()).or_default();
            *before += 1;
            answer(&name, *before - 1)
        }
        _ => Vec::new(),
    };
    let question = &query[HEADER_BYTES..end + 4];
    let count = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    // The id; an answer, recursion wanted and available; one question, the answers, nothing else.
    let mut message = [&query[..2], &[0x81, 0x80, 0, 1], &count, &[0; 4], question].concat();
    for address in addresses {
        // The name is that of the question; an address of the Internet, for an hour.
        message.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4]);
        message.extend(address.octets());
    }
    message
}

/// The name of the first question, and where it ends.
fn name(query: &[u8]) -> (String, usize) {
    let mut labels = Vec::new();
    let mut at = HEADER_BYTES;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    (labels.join("."), at + 1)
}
