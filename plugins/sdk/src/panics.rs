//! The message of a panic, for the operator.

use std::sync::Once;

static INSTALLED: Once = Once::new();

/// Makes a panic write its message and place to the plugin's log before it traps; without
/// this the operator would only see that an `unreachable` instruction was executed.
pub fn log_panics() {
    INSTALLED.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            crate::log::write(crate::log::Level::Error, &panic.to_string());
        }));
    });
}
