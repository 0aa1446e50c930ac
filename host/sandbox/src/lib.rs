//! Plugins as WebAssembly components: loading, limits, capabilities, instances.
//!
//! Nothing outside this crate names wasmtime. A [`Sandbox`] turns bytes into a [`Plugin`],
//! or says why not ([`Refusal`]). A [`Session`] handles events with a plugin's warm
//! instance, under its [`Limits`], on the caller's thread.

mod answer;
mod bindings;
mod budget;
mod component;
mod description;
mod guest;
mod imports;
mod json;
mod limits;
mod model;
mod plugin;
mod refusal;
mod session;
mod state;
mod warm;

pub use limits::{Isolation, Limits, SandboxConfig};
pub use model::{
    Action, Answer, Channel, Description, Digest, Fault, GuestEvent, Notification, Recipient,
    Setting, Urgency, Withdrawal,
};
pub use plugin::{Plugin, Sandbox};
pub use refusal::Refusal;
pub use session::Session;
pub use state::{NoState, State, StateUnavailable};
