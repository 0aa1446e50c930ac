//! Panics when it is asked what it is.
#![cfg(target_arch = "wasm32")]

use carillon_plugin::{Action, Description, Event, Failure, Guest};

struct Plugin;

impl Guest for Plugin {
    fn describe() -> Description {
        panic!("this guest panics in describe");
    }

    fn handle(_event: Event) -> Result<Vec<Action>, Failure> {
        Ok(Vec::new())
    }

    fn state_version() -> u32 {
        0
    }
}

#[allow(
    unsafe_code,
    unused_qualifications,
    reason = "the exports of the plugin's world"
)]
mod exports {
    use super::Plugin;

    carillon_plugin::bindings::export!(Plugin with_types_in carillon_plugin::bindings);
}
