//! What the operator gives to one plugin.

use std::collections::HashMap;

use crate::http::HttpGrant;
use crate::limits::Limits;

/// `[plugins.NAME]`: what the plugin may use, and what it reads.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// How much it may use.
    pub limits: Limits,
    /// The values of its settings.
    pub settings: HashMap<String, String>,
    /// Where it may send requests.
    pub http: HttpGrant,
    /// Whether it gets the empty system that components from other languages expect (WASI 0.2).
    pub wasi: bool,
}
