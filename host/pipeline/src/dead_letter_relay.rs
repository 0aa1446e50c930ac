//! Copies stored dead letters to their topic: at least once, each with its identity.

use std::sync::Arc;
use std::time::Duration;

use carillon_bus::{Producer, Record};
use carillon_store::{DeadLetterRow, Store, StoredDeadLetter};

use crate::backoff::now_ms;

const AT_ONCE: u32 = 256;
/// Also looked for without a bell: what an earlier process left.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Runs for ever.
pub(crate) async fn run(store: Store, producer: Producer, topic: Arc<str>) {
    loop {
        match relay_some(&store, &producer, &topic).await {
            Ok(0) => {
                // Either way there is something to look at.
                let _ = tokio::time::timeout(LOOK_EVERY, store.dead_letter_stored()).await;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(topic = %topic, error, "dead letters are not copied to their topic yet; they are safe in the store");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}

async fn relay_some(store: &Store, producer: &Producer, topic: &str) -> Result<usize, String> {
    let letters = store
        .dead_letters_to_relay(AT_ONCE)
        .await
        .map_err(|error| error.to_string())?;
    let mut deliveries = Vec::with_capacity(letters.len());
    for letter in letters {
        let row = letter.row;
        let record = record(topic, letter);
        deliveries.push((row, producer.enqueue(record.clone()).await, record));
    }
    let mut sent: Vec<DeadLetterRow> = Vec::with_capacity(deliveries.len());
    let mut failed = None;
    for (row, delivery, record) in deliveries {
        let delivered = match delivery {
            Ok(delivery) => delivery.await,
            Err(error) => Err(error),
        };
        let delivered = match delivered {
            Err(error) if error.is_too_large() => producer.send(without_value(record)).await,
            other => other,
        };
        match delivered {
            Ok(_) => sent.push(row),
            // One that is refused does not keep the others back.
            Err(error) => failed = Some(error.to_string()),
        }
    }
    store
        .dead_letters_relayed(&sent, now_ms())
        .await
        .map_err(|error| error.to_string())?;
    failed.map_or(Ok(sent.len()), Err)
}

/// The topic does not take the whole record; the store has it.
fn without_value(mut record: Record) -> Record {
    let bytes = record.value.len().to_string();
    record.value.clear();
    record.headers.push((
        "carillon-value-omitted-bytes".to_owned(),
        bytes.into_bytes(),
    ));
    record
}

fn record(topic: &str, stored: StoredDeadLetter) -> Record {
    let StoredDeadLetter {
        letter,
        topic: from,
        plugin_name,
        plugin_version,
        ..
    } = stored;
    let mut headers = letter.headers;
    let mut add =
        |name: &str, value: String| headers.push((format!("carillon-{name}"), value.into_bytes()));
    add("topic", from);
    add("partition", letter.source.partition.to_string());
    add("offset", letter.source.offset.to_string());
    add("plugin", plugin_name.to_string());
    add("plugin-version", plugin_version);
    add("code", letter.code);
    add("reason", letter.reason);
    add("attempts", letter.attempts.to_string());
    if let Some(event) = letter.event_id {
        add("event-id", event);
    }
    Record {
        topic: topic.to_owned(),
        key: letter.key,
        value: letter.value.unwrap_or_default(),
        timestamp_ms: Some(letter.source.logged_at_ms),
        headers,
    }
}
