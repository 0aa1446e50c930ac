//! Plugins as WebAssembly components: loading, limits, capabilities, instances.
//!
//! Nothing outside this crate names wasmtime. A [`Sandbox`] turns bytes into an [`Examined`]
//! binary, and that becomes a [`Plugin`] with what the operator [`Grants`]; or each says why not
//! ([`Refusal`]). A [`Session`] handles events with a plugin's warm instance, under its
//! [`Limits`], on the caller's thread.

mod answer;
mod bindings;
mod budget;
mod code_cache;
mod component;
mod description;
mod examined;
mod grants;
mod guest;
mod http;
mod imports;
mod json;
mod limits;
mod log_lines;
mod model;
mod plugin;
mod refusal;
mod sandbox;
mod session;
mod state;
mod tenant;
mod usage;
mod warm;
mod wasi;

pub use examined::{Examined, binary_sha256};
pub use grants::Grants;
pub use http::{HostPattern, HostPatternError, HttpGrant, Network, NetworkError, SecretSource};
pub use limits::{Isolation, Limits, SandboxConfig};
pub use log_lines::{LogLevel, LogLine, LogSink, NoLog};
pub use model::{
    Action, Answer, Channel, Description, Digest, Fault, GuestEvent, Notification, Recipient,
    Setting, Urgency, Withdrawal,
};
pub use plugin::Plugin;
pub use refusal::Refusal;
pub use sandbox::Sandbox;
pub use session::{Call, Egress, Session};
pub use state::{NoState, State, StateUnavailable};
pub use usage::Usage;
