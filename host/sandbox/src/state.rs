//! The seam to wherever plugin state is kept.

/// The state cannot be read at the moment.
#[derive(Debug, Clone, thiserror::Error)]
#[error("plugin state cannot be read: {0}")]
pub struct StateUnavailable(pub String);

/// One plugin's state during one call. What is set is seen by the same call at once;
/// whether it stays is decided outside, by how the call ends.
pub trait State: Send {
    /// The value of a key that is not hidden at this call's time.
    ///
    /// # Errors
    /// When the state cannot be read at the moment.
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, StateUnavailable>;

    /// Sets a value; answers false when the plugin's space is full.
    ///
    /// # Errors
    /// When the state cannot be read at the moment.
    fn set(
        &mut self,
        key: &str,
        value: Vec<u8>,
        time_to_live_ms: Option<u64>,
    ) -> Result<bool, StateUnavailable>;

    /// Removes a key.
    ///
    /// # Errors
    /// When the state cannot be read at the moment.
    fn delete(&mut self, key: &str) -> Result<(), StateUnavailable>;

    /// How long until the key is hidden, in milliseconds; nothing for a key that is missing or
    /// stays. `increment` without a time-to-live keeps what remains. A state whose keys never
    /// expire need not answer.
    ///
    /// # Errors
    /// When the state cannot be read at the moment.
    fn remaining_ms(&mut self, key: &str) -> Result<Option<u64>, StateUnavailable> {
        let _ = key;
        Ok(None)
    }
}

/// For plugins that do not import `state`.
#[derive(Debug, Clone, Copy)]
pub struct NoState;

impl State for NoState {
    fn get(&mut self, _: &str) -> Result<Option<Vec<u8>>, StateUnavailable> {
        Err(StateUnavailable("this call has none".to_owned()))
    }

    fn set(&mut self, _: &str, _: Vec<u8>, _: Option<u64>) -> Result<bool, StateUnavailable> {
        Err(StateUnavailable("this call has none".to_owned()))
    }

    fn delete(&mut self, _: &str) -> Result<(), StateUnavailable> {
        Err(StateUnavailable("this call has none".to_owned()))
    }
}
