//! What the operator grants.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::addresses::Network;
use super::pattern::HostPattern;
use super::secret::SecretSource;

/// `[plugins.NAME.http]`: where a plugin may send requests, and how much. Nothing is granted by
/// default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default, rename_all(serialize = "camelCase"))]
pub struct HttpGrant {
    /// The hosts.
    pub allow: Vec<HostPattern>,
    /// Networks that are not public, and may be dialled all the same.
    pub addresses: Vec<Network>,
    /// What `{{secret:NAME}}` in the value of a header stands for.
    pub secrets: BTreeMap<String, SecretSource>,
    /// The longest exchange, from the look-up of the name to the last byte, redirects included,
    /// in milliseconds.
    pub timeout_ms: u64,
    /// All exchanges of one event together, in milliseconds. They do not count as the plugin's
    /// wall clock.
    pub budget_ms: u64,
    /// The requests of one event.
    pub max_requests: u32,
    /// The largest body of a request, in bytes. The limit `output_bytes` holds as well.
    pub max_request_bytes: usize,
    /// The largest body of a response, in bytes.
    pub max_response_bytes: usize,
    /// The redirects that one request follows.
    pub max_redirects: u32,
}

impl Default for HttpGrant {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            addresses: Vec::new(),
            secrets: BTreeMap::new(),
            timeout_ms: 5_000,
            budget_ms: 10_000,
            max_requests: 8,
            max_request_bytes: 256 << 10,
            max_response_bytes: 1 << 20,
            max_redirects: 3,
        }
    }
}
