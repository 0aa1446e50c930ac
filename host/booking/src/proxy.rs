//! Reverse proxies, which ask for others and say for whom.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A proxy that is believed, or a network of them: `127.0.0.1`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedProxy(IpNet);

impl TrustedProxy {
    fn holds(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl<'de> Deserialize<'de> for TrustedProxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let net = text
            .parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self).map_err(|_| {
            serde::de::Error::custom(format!(
                "{text:?} is no address and no network; write it as `127.0.0.1` or `10.0.0.0/8`"
            ))
        })
    }
}

/// Whom a peer asks for. Each proxy appends the address that it was asked by, so the list is true from
/// the right for as long as proxies that are trusted have written it; what is further left may be made
/// up by whoever asked the last of them.
pub(crate) fn asked_by(proxies: &[TrustedProxy], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_trusted = |address: IpAddr| proxies.iter().any(|proxy| proxy.holds(address));
    let mut nearest = peer.to_canonical();
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let mut before = lines
        .iter()
        .rev()
        .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','))
        .map(address);
    while is_trusted(nearest) {
        // What cannot be read is not skipped: who wrote what is left of it is not known.
        let Some(Some(address)) = before.next() else {
            break;
        };
        nearest = address;
    }
    nearest
}

/// An address as proxies write it; some write the port, too.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text
        .parse()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn proxies(texts: &[&str]) -> Vec<TrustedProxy> {
        serde_json::from_value(texts.to_vec().into()).unwrap()
    }

    #[test]
    fn the_right_most_address_that_is_not_trusted_counts_and_only_from_a_trusted_peer() {
        let trusted = proxies(&["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]);
        let seen = |trusted: &[TrustedProxy], peer: &str, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, line.parse().unwrap());
            }
            asked_by(trusted, peer.parse().unwrap(), &headers).to_string()
        };
        for (peer, lines, expected) in [
            ("127.0.0.1", &["192.0.2.7"][..], "192.0.2.7"),
            ("::ffff:127.0.0.1", &["192.0.2.7"], "192.0.2.7"),
            ("127.0.0.1", &["1.1.1.1, 192.0.2.7, 10.1.2.3"], "192.0.2.7"),
            ("127.0.0.1", &["1.1.1.1", "192.0.2.7,10.1.2.3"], "192.0.2.7"),
            ("127.0.0.1", &["192.0.2.7:4711"], "192.0.2.7"),
            ("2001:db8::1", &["[2001:470::5]:80"], "2001:470::5"),
            ("127.0.0.1", &["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
            ("127.0.0.1", &["192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("127.0.0.1", &[""], "127.0.0.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("198.51.100.1", &["192.0.2.7"], "198.51.100.1"),
        ] {
            assert_eq!(seen(&trusted, peer, lines), expected, "{peer} {lines:?}");
        }
        assert_eq!(seen(&[], "127.0.0.1", &["192.0.2.7"]), "127.0.0.1");
    }

    #[test]
    fn what_is_no_network_is_refused_with_an_example() {
        for odd in ["localhost", "10.0.0.0/33", "", "10.0.0"] {
            let refused = serde_json::from_value::<TrustedProxy>(odd.into()).unwrap_err();
            assert!(refused.to_string().contains("10.0.0.0/8"), "{refused}");
        }
    }
}
