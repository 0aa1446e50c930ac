//! One of many: its name ends in a number that whoever needs many plugins writes into the
//! binary. It subscribes to a kind that no test sends unasked.
#![cfg(target_arch = "wasm32")]

use std::hint::black_box;

use carillon_guests::echo;
use carillon_plugin::{Action, Description, Event, Failure, Guest};

/// Stands in the binary as it stands here: a constant that the compiler knows would be taken apart
/// into numbers.
static NAME: [u8; 13] = *b"numbered-0000";

struct Plugin;

impl Guest for Plugin {
    fn describe() -> Description {
        Description {
            name: String::from_utf8_lossy(black_box(&NAME)).into_owned(),
            version: "1.0.0".to_owned(),
            summary: "Tells the user of every event of its kind about it.".to_owned(),
            subscriptions: vec!["numbered.called".to_owned()],
            settings: Vec::new(),
        }
    }

    fn handle(event: Event) -> Result<Vec<Action>, Failure> {
        Ok(echo(&event))
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
