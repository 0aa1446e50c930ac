//! Where the relay sends to.

use carillon_bus::{Delivery, Producer, Record, SendError, Sent};

/// A log that takes records: [`Producer`] where the service runs.
pub trait RecordSink: Send + Sync + 'static {
    /// Resolves once the log has the record for good.
    type Delivery: Future<Output = Result<Sent, SendError>> + Send;

    /// Hands a record over, waiting while there is no room for it.
    fn enqueue(
        &self,
        record: Record,
    ) -> impl Future<Output = Result<Self::Delivery, SendError>> + Send;

    /// Whether the log ends with this process, so that a new one has to be told again.
    fn is_embedded(&self) -> bool;
}

impl RecordSink for Producer {
    type Delivery = Delivery;

    async fn enqueue(&self, record: Record) -> Result<Delivery, SendError> {
        Producer::enqueue(self, record).await
    }

    fn is_embedded(&self) -> bool {
        Producer::is_embedded(self)
    }
}
