//! The address that end users and operators talk to: pushes over WebSocket and
//! server-sent events, the inbox, a page to try it all, the endpoints that say how
//! the process is, and `/admin`, where operators change what runs.
//!
//! The path of a push: the store calls the `Hub` after a commit; the hub finds
//! the connections of the stream and puts one shared frame into the
//! `Outbox` of each, which never waits; the connection's own task
//! writes what its outbox holds. An outbox that overflows closes its connection with a
//! code that says reconnect, and `recovery` gives the client what it missed.

mod admin;
mod close;
mod config;
mod deadlines;
mod demo;
mod gateway;
mod hub;
mod inbox;
mod operations;
mod outbox;
mod protocol;
mod push;
mod pushes;
mod recovery;
mod rpc;
mod session;
mod sse;
mod sse_position;
mod streams;
mod telemetry;
mod websocket;

pub use admin::{AdminConfig, AdminConfigError, AdminTokens};
pub use close::CloseCode;
pub use config::{ConfigError, GatewayConfig};
pub use gateway::{Gateway, GatewayParts};
pub use operations::Readiness;
