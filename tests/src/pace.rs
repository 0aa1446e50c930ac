//! Producing at a steady rate, and how long it takes until somebody hears of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rdkafka::producer::{BaseProducer, Producer};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::kafka::{Kafka, Record, send};

/// How long what was handed to the producer may take at the end.
const FLUSH_BOUND: Duration = Duration::from_secs(30);

/// When each event was sent, by its id.
#[derive(Debug, Clone, Default)]
pub struct SendTimes(Arc<Mutex<HashMap<String, Instant>>>);

impl SendTimes {
    /// Notes that an event is sent now.
    pub fn note(&self, id: String) {
        let now = Instant::now();
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.insert(id, now);
    }

    /// When an event was sent, if it was.
    #[must_use]
    pub fn of(&self, id: &str) -> Option<Instant> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.get(id).copied()
    }
}

/// Sends records, so many a second; blocks the thread meanwhile.
///
/// # Errors
/// When the client refuses a record, or the broker does not take the last ones.
pub fn produce(
    producer: &BaseProducer,
    records: impl IntoIterator<Item = Record>,
    a_second: u32,
    times: &SendTimes,
) -> Result<()> {
    let start = Instant::now();
    for (number, record) in (0_u32..).zip(records) {
        let due = start + Duration::from_secs(1) / a_second * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let value: Value = serde_json::from_slice(&record.value)?;
        times.note(value["eventId"].as_str().unwrap_or_default().to_owned());
        send(producer, &record)?;
    }
    producer.flush(FLUSH_BOUND)?;
    Ok(())
}

/// Events that go on until they are ended.
#[derive(Debug)]
pub struct Flow {
    times: SendTimes,
    ending: Arc<AtomicBool>,
    producing: JoinHandle<Result<u32>>,
}

impl Flow {
    /// Begins with the event number 0.
    ///
    /// # Errors
    /// When no producer can be made.
    pub fn start(
        kafka: &Kafka,
        a_second: u32,
        event: impl Fn(u32) -> Record + Send + 'static,
    ) -> Result<Self> {
        let producer = kafka.prompt_producer()?;
        let (times, ending) = (SendTimes::default(), Arc::new(AtomicBool::new(false)));
        let (noted, asked) = (times.clone(), Arc::clone(&ending));
        let producing = tokio::task::spawn_blocking(move || {
            let mut next = 0;
            let records = std::iter::from_fn(|| {
                let record = (!asked.load(Ordering::Acquire)).then(|| event(next));
                next += u32::from(record.is_some());
                record
            });
            produce(&producer, records, a_second, &noted)?;
            Ok(next)
        });
        Ok(Self {
            times,
            ending,
            producing,
        })
    }

    /// When each event was sent.
    #[must_use]
    pub fn times(&self) -> SendTimes {
        self.times.clone()
    }

    /// Ends it; answers how many there were, all of which are in the broker then.
    ///
    /// # Errors
    /// When one could not be sent.
    pub async fn end(self) -> Result<u32> {
        self.ending.store(true, Ordering::Release);
        self.producing.await?
    }
}

/// Half of the times, 99 of 100, and the longest.
///
/// # Errors
/// When there are none.
pub fn quantiles(mut times: Vec<Duration>) -> Result<String> {
    ensure!(!times.is_empty(), "nothing came");
    times.sort_unstable();
    let quantile = |per_mille: usize| {
        let place = times.len() * per_mille / 1000;
        times[place.min(times.len() - 1)].as_secs_f64() * 1e3
    };
    Ok(format!(
        "{:.1} / {:.1} / {:.1} ms",
        quantile(500),
        quantile(990),
        quantile(1000)
    ))
}
