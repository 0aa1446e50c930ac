//! Why an event was not handled.

use crate::Failure;

impl Failure {
    /// The event never can be handled: it becomes a dead letter of this plugin at once, with
    /// this reason beside it. Write the reason for the operator who will read it.
    #[must_use]
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject(reason.into())
    }

    /// The event may be handled later: it comes again, in order, after a pause. What this call
    /// wrote to `state` is gone.
    #[must_use]
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry(reason.into())
    }

    /// The reason that was given.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Reject(reason) | Self::Retry(reason) => reason,
        }
    }
}
