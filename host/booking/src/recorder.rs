//! What happened in the API, as `analytics.recorded` events. They are about the service and not about
//! anybody's booking, so they are written after the answer, many at once, and where there are more
//! than can be written they are counted and dropped: a figure is never waited for.

use std::sync::Arc;
use std::time::Duration;

use carillon_events::Topic;
use serde::Serialize;
use sqlx::SqliteConnection;
use tokio::sync::mpsc;

use crate::config::BookingConfig;
use crate::error::WriteError;
use crate::events;
use crate::outbox::{self, Kept, Outgoing};
use crate::service::Booking;
use crate::writer::Change;

/// How many may wait to be written.
const QUEUE: usize = 4_096;
/// How many are written at once.
const BATCH: usize = 256;
/// How long they are gathered.
const GATHER: Duration = Duration::from_millis(200);

/// A request that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    pub(crate) name: String,
    pub(crate) correlation_id: String,
    pub(crate) status: u16,
    pub(crate) took: Duration,
}

/// `eventData` of `analytics.recorded`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AnalyticsData<'a> {
    name: &'a str,
    duration_ms: u128,
    outcome: &'static str,
    status: u16,
}

/// Takes what happened. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Recorder(mpsc::Sender<Happened>);

impl Recorder {
    /// Writes what is noted until the last recorder is gone.
    pub(crate) fn start(booking: Booking) -> Self {
        let (sender, mut happened) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(BATCH);
            while happened.recv_many(&mut batch, BATCH).await > 0 {
                let parts = booking.parts();
                let change = Record {
                    config: Arc::clone(&parts.config),
                    happened: std::mem::take(&mut batch),
                };
                if let Err(error) = parts.writer.write(change).await {
                    tracing::warn!(%error, "what happened in the API was not recorded");
                }
                tokio::time::sleep(GATHER).await;
            }
        });
        Self(sender)
    }

    pub(crate) fn note(&self, happened: Happened) {
        if self.0.try_send(happened).is_err() {
            metrics::counter!("carillon_booking_analytics_dropped_total").increment(1);
        }
    }
}

struct Record {
    config: Arc<BookingConfig>,
    happened: Vec<Happened>,
}

impl Change for Record {
    type Done = ();

    async fn apply(
        &self,
        connection: &mut SqliteConnection,
        now_ms: i64,
    ) -> Result<(), WriteError> {
        let topic = self.config.kafka.topics.name(Topic::AnalyticsEvents);
        let events = self.happened.iter().map(|happened| {
            let data = AnalyticsData {
                name: &happened.name,
                duration_ms: happened.took.as_millis(),
                outcome: match happened.status {
                    200..=399 => "ok",
                    400..=499 => "refused",
                    _ => "failed",
                },
                status: happened.status,
            };
            Ok(Outgoing {
                topic,
                // A key of its own for each: the events of one key are sent one after another, and these
                // have no order to keep. The caller chooses the correlation id, and may choose one for all.
                key: uuid::Uuid::now_v7().to_string().into(),
                correlation_id: &happened.correlation_id,
                kept: Kept::UntilSent,
                draft: events::draft("analytics.recorded", now_ms, data)?,
            })
        });
        let events = events.collect::<Result<_, WriteError>>()?;
        outbox::append(connection, now_ms, events).await
    }
}
