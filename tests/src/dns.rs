//! A name server (RFC 1035) that answers every name with the addresses of a list, one after
//! another: the last one stays. So a name can be good when it is first looked up, and point
//! somewhere else the next time.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// A query over UDP fits into this (RFC 1035, section 4.2.1).
const MAX_QUERY_BYTES: usize = 512;
/// The header before the question.
const HEADER_BYTES: usize = 12;
/// The type of a record that holds an address of version 4.
const TYPE_A: u16 = 1;
/// Answers must not be kept.
const TTL_S: u32 = 0;

/// Ends with the value.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    /// Dropped with the value, and its task with it.
    _answering: JoinSet<()>,
}

impl NameServer {
    /// Listens on a port of the loopback.
    ///
    /// # Errors
    /// When there is none, or no address is given.
    pub async fn start(addresses: Vec<Ipv4Addr>) -> Result<Self> {
        let last = *addresses.last().context("no address to answer")?;
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
        let address = socket.local_addr()?;
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let mut answering = JoinSet::new();
        answering.spawn(async move {
            let mut query = [0; MAX_QUERY_BYTES];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let Some((question, kind)) = question(&query[..length]) else {
                    continue;
                };
                // Only what asks for an address of version 4 takes one from the list: resolvers ask
                // for version 6 beside it.
                let found = (kind == TYPE_A).then(|| {
                    let place = count.fetch_add(1, Ordering::AcqRel);
                    addresses.get(place).copied().unwrap_or(last)
                });
                let answer = answer(&query, question, found);
                // A resolver that is gone needs none.
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Ok(Self {
            address,
            asked,
            _answering: answering,
        })
    }

    /// `ip:port`, as `[sandbox] nameservers` has it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often an address of version 4 was asked for.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Acquire)
    }
}

/// The bytes of the question, and the type that it asks for.
fn question(query: &[u8]) -> Option<(&[u8], u16)> {
    let mut at = HEADER_BYTES;
    loop {
        match *query.get(at)? {
            0 => break,
            length => at += usize::from(length) + 1,
        }
    }
    let kind = query.get(at + 1..at + 3)?;
    let question = query.get(HEADER_BYTES..at + 5)?;
    Some((question, u16::from_be_bytes([kind[0], kind[1]])))
}

/// An authoritative answer with one address, or without any.
fn answer(query: &[u8], question: &[u8], address: Option<Ipv4Addr>) -> Vec<u8> {
    const AUTHORITATIVE_ANSWER: u16 = 0x8400;
    // Points at the name in the question, which follows the header of 12 bytes.
    const SAME_NAME: u16 = 0xc00c;
    const CLASS_INTERNET: u16 = 1;
    let mut answer = query[..2].to_vec();
    let counts = [AUTHORITATIVE_ANSWER, 1, u16::from(address.is_some()), 0, 0];
    answer.extend(counts.iter().flat_map(|field| field.to_be_bytes()));
    answer.extend_from_slice(question);
    if let Some(address) = address {
        let fields = [SAME_NAME, TYPE_A, CLASS_INTERNET];
        answer.extend(fields.iter().flat_map(|field| field.to_be_bytes()));
        answer.extend(TTL_S.to_be_bytes());
        answer.extend(4_u16.to_be_bytes());
        answer.extend(address.octets());
    }
    answer
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x01\x00\x01";

    #[test]
    fn an_answer_repeats_the_question_and_holds_the_address() {
        let (question, kind) = question(QUERY).unwrap();
        assert_eq!(kind, TYPE_A);
        assert_eq!(question, b"\x01a\x04test\x00\x00\x01\x00\x01");
        let answer = answer(QUERY, question, Some(Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(answer[..4], [0x12, 0x34, 0x84, 0x00]);
        assert!(answer.ends_with(&[0, 4, 127, 0, 0, 2]));
    }

    #[tokio::test]
    async fn the_last_address_of_the_list_stays() {
        let list = [2, 1].map(|end| Ipv4Addr::new(127, 0, 0, end));
        let server = NameServer::start(list.to_vec()).await.unwrap();
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let mut found = Vec::new();
        for _ in 0..3 {
            socket.send_to(QUERY, server.address()).await.unwrap();
            let mut answer = [0; MAX_QUERY_BYTES];
            let length = socket.recv(&mut answer).await.unwrap();
            found.push(answer[length - 1]);
        }
        assert_eq!((found, server.asked()), (vec![2, 1, 1], 3));
    }
}
