//! A log that the relay sends to: it keeps what it takes, and fails as it is told.

use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carillon_booking::RecordSink;
use carillon_bus::{Record, SendError, Sent};
use carillon_events::{Event, decode};

/// What happens to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is taken and acknowledged.
    Taken,
    /// It is taken, and the acknowledgement is lost on the way.
    TakenInSilence,
    /// It is taken, and acknowledged so much later.
    TakenLate(Duration),
    /// It is taken, and reported as failed.
    TakenButReportedFailed,
    /// It is refused.
    Refused,
}

type Rule = Box<dyn FnMut(&Record) -> Fate + Send>;

#[derive(Clone)]
pub(crate) struct FaultyLog(Arc<Mutex<Inside>>);

struct Inside {
    records: Vec<Record>,
    rule: Rule,
    embedded: bool,
}

impl FaultyLog {
    pub(crate) fn new(rule: impl FnMut(&Record) -> Fate + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Inside {
            records: Vec::new(),
            rule: Box::new(rule),
            embedded: false,
        })))
    }

    /// A log that ends with the process.
    pub(crate) fn embedded() -> Self {
        let log = Self::new(|_| Fate::Taken);
        log.0.lock().unwrap().embedded = true;
        log
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.0.lock().unwrap().records.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().records.len()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let records = self.records();
        records
            .iter()
            .map(|record| decode(&record.value).unwrap())
            .collect()
    }
}

impl RecordSink for FaultyLog {
    type Delivery = Pin<Box<dyn Future<Output = Result<Sent, SendError>> + Send>>;

    async fn enqueue(&self, record: Record) -> Result<Self::Delivery, SendError> {
        let mut inside = self.0.lock().unwrap();
        let fate = (inside.rule)(&record);
        let failed = SendError::Closed {
            topic: record.topic.clone(),
        };
        if fate != Fate::Refused {
            inside.records.push(record);
        }
        let place = Sent {
            partition: 0,
            offset: i64::try_from(inside.records.len()).unwrap(),
        };
        Ok(match fate {
            Fate::Taken => Box::pin(ready(Ok(place))),
            Fate::TakenInSilence => Box::pin(pending()),
            Fate::TakenLate(by) => Box::pin(async move {
                tokio::time::sleep(by).await;
                Ok(place)
            }),
            Fate::TakenButReportedFailed | Fate::Refused => Box::pin(ready(Err(failed))),
        })
    }

    fn is_embedded(&self) -> bool {
        self.0.lock().unwrap().embedded
    }
}
