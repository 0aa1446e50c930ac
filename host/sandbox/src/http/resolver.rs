//! Names to addresses, on every dial.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::addresses::{Network, why_not};
use super::runtime::Lookup;

/// Answers only addresses that may be dialled. The client asks before each dial and dials nothing
/// else, so an answer that changes is checked again; a connection that is used again was dialled to
/// a checked address.
pub(super) struct CheckedResolver {
    pub(super) plugin: Arc<str>,
    pub(super) lookup: Arc<Lookup>,
    pub(super) granted: Arc<[Network]>,
}

/// A host has addresses, and none that may be dialled.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct AddressRefused(pub(super) String);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, granted) = (Arc::clone(&self.lookup), Arc::clone(&self.granted));
        let plugin = Arc::clone(&self.plugin);
        Box::pin(async move {
            let found = lookup.addresses(name.as_str()).await?;
            let mut refused = None;
            let mut dialled = Vec::with_capacity(found.len());
            for address in found {
                match why_not(address, &granted) {
                    None => dialled.push(SocketAddr::new(address, 0)),
                    Some(why) => refused = Some((address, why)),
                }
            }
            match refused {
                Some((address, why)) if dialled.is_empty() => {
                    Err(AddressRefused(sentence(&plugin, name.as_str(), address, why)).into())
                }
                _ => Ok(Box::new(dialled.into_iter()) as Addrs),
            }
        })
    }
}

/// Why a host is not dialled, and what the operator can do.
pub(super) fn sentence(plugin: &str, host: &str, address: IpAddr, why: &str) -> String {
    format!(
        "{host} has the address {address}, {why}; an operator grants such networks in [plugins.{plugin}.http] addresses"
    )
}
