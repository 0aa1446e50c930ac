//! What a Rust author of a Carillon plugin depends on.
//!
//! A plugin is one function from an event to the actions that follow from it:
//!
//! ```
//! use carillon_plugin::prelude::*;
//!
//! #[plugin(
//!     name = "greeter",
//!     summary = "Says that a booking was made.",
//!     subscriptions = ["booking.created"]
//! )]
//! fn handle(event: Event) -> Result<Vec<Action>, Failure> {
//!     let booking = event.booking()?;
//!     let title = format!("Booked: {}", booking.title.as_deref().unwrap_or("your room"));
//!     Ok(vec![
//!         Notification::to_user(event.require_user()?)
//!             .category("booking")
//!             .title(title)
//!             .into(),
//!     ])
//! }
//! # fn main() {}
//! ```
//!
//! Built for `wasm32-unknown-unknown` it is a module that the host loads; built natively it is
//! an ordinary library, and [`testing`] stands in for the host, so `cargo test` needs nothing else.
//!
//! The module imports only what the plugin calls: [`state`], [`settings`] and [`http`] appear among
//! its imports, which are its request for capabilities, when a function of theirs is used. [`log`]
//! is always among them, for the message of a panic.

#[doc(hidden)]
#[allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "generated code"
)]
pub mod bindings;
mod event;
mod failure;
pub mod http;
pub mod log;
mod notification;
#[doc(hidden)]
pub mod panics;
pub mod settings;
pub mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod time;

pub use bindings::carillon::plugin::types::{
    Action, Channel, Description, Digest, Event, Failure, Notification, Position, Priority,
    Recipient, Setting, Withdrawal,
};
#[doc(hidden)]
pub use bindings::exports::carillon::plugin::handler::Guest;
pub use carillon_plugin_macros::plugin;
pub use event::{BookingData, ConflictData, ResourceData, UserData, WaitlistData};

/// What a plugin's function answers to an event: the actions, which take effect together or not at
/// all, or why there are none.
pub type Answer = Result<Vec<Action>, Failure>;

/// What nearly every plugin needs: `use carillon_plugin::prelude::*;`
pub mod prelude {
    pub use crate::{
        Action, BookingData, Channel, ConflictData, Event, Failure, Notification, Priority,
        Recipient, ResourceData, UserData, WaitlistData, http, log, plugin, settings, state, time,
    };
}
