//! Which addresses may be dialled.
//!
//! Public ones, and those in networks that the operator named: a plugin must not reach what only
//! this machine or its neighbours can see, whatever a name resolves to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// What is wrong with a [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the network {network:?} {wrong}; write \"10.0.0.0/8\", \"fd00::/8\" or one address")]
pub struct NetworkError {
    network: String,
    wrong: String,
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            prefix,
        }
    }

    const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Self {
        Self {
            address: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)),
            prefix,
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix));
                (own.to_bits() ^ other.to_bits()) & mask.unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix));
                (own.to_bits() ^ other.to_bits()) & mask.unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Addresses that are not for the public Internet, by what they are for (IANA's registries of
/// special-purpose addresses; RFC 6890).
const SPECIAL_V4: [(Network, &str); 15] = [
    (Network::v4(0, 0, 0, 0, 8), "an address of this host"),
    (Network::v4(10, 0, 0, 0, 8), "a private address"),
    (
        Network::v4(100, 64, 0, 0, 10),
        "an address behind a carrier",
    ),
    (Network::v4(127, 0, 0, 0, 8), "a loopback address"),
    (Network::v4(169, 254, 0, 0, 16), "a link-local address"),
    (Network::v4(172, 16, 0, 0, 12), "a private address"),
    (Network::v4(192, 0, 0, 0, 24), "an address of protocols"),
    (Network::v4(192, 0, 2, 0, 24), "an address for examples"),
    (Network::v4(192, 88, 99, 0, 24), "an address of relays"),
    (Network::v4(192, 168, 0, 0, 16), "a private address"),
    (
        Network::v4(198, 18, 0, 0, 15),
        "an address for measurements",
    ),
    (Network::v4(198, 51, 100, 0, 24), "an address for examples"),
    (Network::v4(203, 0, 113, 0, 24), "an address for examples"),
    (Network::v4(224, 0, 0, 0, 4), "a multicast address"),
    (Network::v4(240, 0, 0, 0, 4), "a reserved address"),
];

/// The only part of the addresses of version 6 that is given out for global unicast (RFC 4291).
const GLOBAL_V6: Network = Network::v6(0x2000, 0, 0, 3);

/// What within [`GLOBAL_V6`] is not public.
const SPECIAL_V6: [(Network, &str); 3] = [
    (Network::v6(0x2001, 0, 0, 23), "an address of protocols"),
    (
        Network::v6(0x2001, 0x0db8, 0, 32),
        "an address for examples",
    ),
    (Network::v6(0x3fff, 0, 0, 20), "an address for examples"),
];

/// What lies outside of it, by name; the rest is reserved.
const LOCAL_V6: [(Network, &str); 4] = [
    (Network::v6(0xfc00, 0, 0, 7), "a private address"),
    (Network::v6(0xfe80, 0, 0, 10), "a link-local address"),
    (Network::v6(0xff00, 0, 0, 8), "a multicast address"),
    (Network::v6(0x0064, 0xff9b, 1, 48), "a translated address"),
];

/// Translation to version 4 by a gateway (RFC 6052), and by the sender (RFC 3056): the last, or
/// the second and third, groups are an address of version 4.
const NAT64: Network = Network::v6(0x0064, 0xff9b, 0, 96);
const SIX_TO_FOUR: Network = Network::v6(0x2002, 0, 0, 16);

/// Why an address must not be dialled with these networks granted; nothing if it may be.
pub(super) fn why_not(address: IpAddr, granted: &[Network]) -> Option<&'static str> {
    // However it is written or packed, what counts is where the packets would go.
    let within = version_4_within(address).map_or(address, IpAddr::V4);
    let is_granted = |address: IpAddr| granted.iter().any(|network| network.contains(address));
    if is_granted(address) || is_granted(within) {
        return None;
    }
    match within {
        IpAddr::V4(_) => named(&SPECIAL_V4, within),
        IpAddr::V6(address) if address.is_loopback() => Some("a loopback address"),
        IpAddr::V6(_) if GLOBAL_V6.contains(within) => named(&SPECIAL_V6, within),
        IpAddr::V6(_) => named(&LOCAL_V6, within).or(Some("a reserved address")),
    }
}

fn named(networks: &[(Network, &'static str)], address: IpAddr) -> Option<&'static str> {
    networks
        .iter()
        .find(|(network, _)| network.contains(address))
        .map(|(_, name)| *name)
}

/// The address of version 4 that one of version 6 stands for.
fn version_4_within(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    if let Some(mapped) = v6.to_ipv4_mapped() {
        return Some(mapped);
    }
    let groups = v6.segments();
    let (high, low) = match address {
        _ if NAT64.contains(address) => (groups[6], groups[7]),
        _ if SIX_TO_FOUR.contains(address) => (groups[1], groups[2]),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |wrong: &str| NetworkError {
            network: text.to_owned(),
            wrong: wrong.to_owned(),
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong("has no address"))?;
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= bits)
                .ok_or_else(|| wrong(&format!("has no length from 0 to {bits} behind its `/`")))?,
        };
        if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
            return Err(wrong("is one of version 4 in another spelling"));
        }
        let network = Self { address, prefix };
        if !network.begins_at(address) {
            return Err(wrong("has an address with bits behind its length"));
        }
        Ok(network)
    }
}

impl Network {
    /// Whether nothing is set in an address behind the prefix.
    fn begins_at(&self, address: IpAddr) -> bool {
        let free = |bits: u32| bits - u32::from(self.prefix);
        match address {
            IpAddr::V4(v4) => v4.to_bits() == 0 || v4.to_bits().trailing_zeros() >= free(32),
            IpAddr::V6(v6) => v6.to_bits() == 0 || v6.to_bits().trailing_zeros() >= free(128),
        }
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn may_be_dialled(address: &str, granted: &[&str]) -> bool {
        let granted: Vec<Network> = granted.iter().map(|text| text.parse().unwrap()).collect();
        why_not(address.parse().unwrap(), &granted).is_none()
    }

    #[test]
    fn public_addresses_may_be_dialled() {
        for address in [
            "8.8.8.8",
            "93.184.216.34",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "198.17.255.255",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::200e",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(may_be_dialled(address, &[]), "{address}");
        }
    }

    #[test]
    fn all_others_may_not_however_they_are_packed() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "64:ff9b::10.1.2.3",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:c0a8:101::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!may_be_dialled(address, &[]), "{address}");
        }
    }

    #[test]
    fn a_granted_network_may_be_dialled_and_its_neighbour_may_not() {
        assert!(may_be_dialled("127.0.0.1", &["127.0.0.0/8"]));
        assert!(may_be_dialled("::ffff:127.0.0.1", &["127.0.0.0/8"]));
        assert!(may_be_dialled("64:ff9b::10.0.0.9", &["10.0.0.9"]));
        assert!(!may_be_dialled("10.0.0.10", &["10.0.0.9"]));
        assert!(!may_be_dialled("::1", &["127.0.0.0/8"]));
        assert!(may_be_dialled("::1", &["::1"]));
        assert!(may_be_dialled("fd00::7", &["10.0.0.0/8", "fd00::/16"]));
        assert!(!may_be_dialled("fd01::7", &["fd00::/16"]));
        assert!(may_be_dialled("192.168.3.4", &["0.0.0.0/0"]));
        assert!(!may_be_dialled("fd01::7", &["0.0.0.0/0"]));
        assert!(may_be_dialled("fd01::7", &["::/0"]));
    }

    #[test]
    fn a_network_that_cannot_be_meant_is_refused_by_its_text() {
        for (network, wrong) in [
            ("localhost", "has no address"),
            ("10.0.0.0/", "from 0 to 32"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("fd00::/129", "from 0 to 128"),
            ("10.0.0.1/8", "bits behind its length"),
            ("fd00::1/8", "bits behind its length"),
            ("::ffff:127.0.0.0/104", "version 4 in another spelling"),
        ] {
            let sentence = network.parse::<Network>().unwrap_err().to_string();
            assert!(sentence.contains(wrong), "{sentence}");
            assert!(sentence.contains(&format!("{network:?}")), "{sentence}");
        }
        for network in ["10.0.0.0/8", "fd00::/8", "::/0", "0.0.0.0/0", "::1/128"] {
            assert_eq!(network.parse::<Network>().unwrap().to_string(), network);
        }
    }
}
