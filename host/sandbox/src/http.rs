//! Requests of plugins to hosts that the operator granted.
//!
//! A plugin asks by importing `http`; the operator answers with an [`HttpGrant`]. Between the two
//! stands every check: which hosts ([`HostPattern`]), which addresses ([`Network`]), how often, how
//! long, how much, and which secrets.

mod access;
mod addresses;
mod exchange;
mod grant;
mod outgoing;
mod pattern;
mod resolver;
mod runtime;
mod secret;
mod send;

pub(crate) use access::Access;
pub use addresses::{Network, NetworkError};
pub use grant::HttpGrant;
pub use pattern::{HostPattern, HostPatternError};
pub(crate) use runtime::HttpRuntime;
pub use secret::SecretSource;
