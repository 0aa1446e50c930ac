//! The schedule: waiting notifications become visible when their time comes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carillon_store::{Store, StoreError};

/// Looked at this often at least: the machine's clock may be set.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// After trouble with the store.
const PAUSE: Duration = Duration::from_secs(2);

/// Releases waiting notifications as their time comes. Runs for ever; may be dropped at any
/// await, since each release is one transaction.
pub async fn run_schedule(store: Store) {
    loop {
        match release(&store).await {
            Ok(wait) => {
                // Either way it is time to look.
                let _ = tokio::time::timeout(wait, store.waiting_stored()).await;
            }
            Err(error) => {
                tracing::warn!(%error, "waiting notifications are not released yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Releases what is due; answers how long there is nothing to do.
async fn release(store: &Store) -> Result<Duration, StoreError> {
    loop {
        match store.next_due_ms().await? {
            None => return Ok(LOOK_EVERY),
            Some(due) if due > now_ms() => {
                let wait = u64::try_from(due - now_ms()).unwrap_or(0);
                return Ok(Duration::from_millis(wait).min(LOOK_EVERY));
            }
            Some(_) => {
                let released = store.release_due().await?;
                metrics::counter!("carillon_scheduled_notifications_total")
                    .increment(released as u64);
            }
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
