//! The relay: from the outbox to the log, in order, without end.
//!
//! It reads the first unsent rows, sends them, waits for the log's acknowledgement, and marks them sent
//! in one statement. A crash at any of these points leaves rows unmarked that the log may have already;
//! they are sent again with the same event id, which is what readers know a repeat by.
//!
//! Events of one key are sent one after another, each only when the log has the one before it; events
//! of different keys are on their way together. So a record that fails can never be overtaken by a
//! later one of its key, whatever the producer's own retries do.

mod pause;
mod sink;

use std::collections::HashSet;
use std::time::Duration;

use carillon_bus::{CORRELATION_ID, Record, SENT_AGAIN, SendError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::error::WriteError;
use crate::outbox::{self, ForgetSent, MarkSent, OutboxRow, Prune};
use crate::service::Booking;
use crate::telemetry::{
    EventsSent, OutboxFailed, OutboxLag, OutboxPruned, SendingFailed, WindowResent,
};
use pause::Pause;
pub use sink::RecordSink;

/// How long a batch that is on its way may take to arrive once the service stops.
const GRACE: Duration = Duration::from_secs(3);

/// How often the lag is measured; it is counted over all unsent rows.
const LAG_EVERY: Duration = Duration::from_secs(1);

/// How soon pruning goes on where there was something to prune.
const PRUNE_AGAIN: Duration = Duration::from_millis(100);

/// How the relay works. The defaults are for every use but tests.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// Rows read and sent at a time, which bounds what the relay holds in memory.
    pub batch_rows: u32,
    /// How often the outbox is looked at without being woken.
    pub poll: Duration,
    /// The first pause after a failure; it doubles from failure to failure.
    pub first_pause: Duration,
    /// The longest pause after a failure.
    pub longest_pause: Duration,
    /// How often rows beyond the duplicate window are removed.
    pub prune_every: Duration,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            batch_rows: 1024,
            poll: Duration::from_secs(1),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(10),
            prune_every: Duration::from_secs(60),
        }
    }
}

pub(crate) struct Relay<S> {
    booking: Booking,
    sink: S,
    settings: RelaySettings,
    pause: Pause,
    window_is_due: bool,
    /// What was written before stood in the log of an embedded broker that is gone; milliseconds
    /// since 1970, and 0 where the log lasts.
    log_began_ms: i64,
    prune_at: Instant,
}

/// What one look at the outbox came to.
enum Turn {
    /// Nothing waits.
    Idle,
    /// Something was done, and there may be more to do.
    Busy,
    /// Something failed, and is tried again after this pause.
    Failed(Duration),
}

/// What became of a batch.
#[derive(Default)]
struct Round {
    sent: Vec<i64>,
    unsent: usize,
    failure: Option<SendError>,
}

impl<S: RecordSink> Relay<S> {
    pub(crate) fn new(booking: Booking, sink: S, settings: RelaySettings) -> Self {
        let log_began_ms = if sink.is_embedded() {
            booking.parts().clock.now_ms()
        } else {
            0
        };
        Self {
            booking,
            log_began_ms,
            window_is_due: sink.is_embedded(),
            sink,
            pause: Pause::new(settings.first_pause, settings.longest_pause),
            // Not at the start: what a restart has to send again goes first.
            prune_at: Instant::now() + settings.prune_every,
            settings,
        }
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self, shutdown: watch::Receiver<bool>) {
        // The lag matters most while a batch waits for a log that does not answer, so it is measured
        // beside the sending and not between two batches.
        let booking = self.booking.clone();
        tokio::join!(
            self.send_until_stopped(shutdown.clone()),
            measure_lag_until_stopped(&booking, shutdown),
        );
    }

    async fn send_until_stopped(&mut self, mut shutdown: watch::Receiver<bool>) {
        while let Some(turn) = self.turn_unless_stopped(&mut shutdown).await {
            let committed = self.booking.parts().writer.committed();
            let (rest, wakes_early) = match turn {
                Turn::Busy => continue,
                Turn::Idle => (self.settings.poll, true),
                // New rows are no reason to try sooner again what has just failed.
                Turn::Failed(pause) => (pause, false),
            };
            tokio::select! {
                () = stop_of(&mut shutdown) => return,
                () = committed.notified(), if wakes_early => {}
                () = sleep(rest) => {}
            }
        }
    }

    /// One look at the outbox; `None` once the relay is to stop.
    async fn turn_unless_stopped(&mut self, shutdown: &mut watch::Receiver<bool>) -> Option<Turn> {
        let turn = self.turn();
        tokio::pin!(turn);
        tokio::select! {
            biased;
            () = stop_of(shutdown) => {
                // What is on its way may still arrive and be marked; if not, it is sent again.
                drop(timeout(GRACE, turn).await);
                None
            }
            outcome = &mut turn => Some(outcome),
        }
    }

    async fn turn(&mut self) -> Turn {
        if self.window_is_due {
            self.resend_window().await
        } else if Instant::now() >= self.prune_at {
            self.prune().await
        } else {
            self.send_batch().await
        }
    }

    /// Makes the relay send again what the window holds. An embedded broker's log ended with the
    /// process before this one, so nothing of the window counts as sent; which rows that were is
    /// decided by the database, and a crash half way through the sending changes nothing.
    async fn resend_window(&mut self) -> Turn {
        let window_ms = self.booking.parts().config.duplicate_window_ms();
        let forget = ForgetSent { window_ms };
        match self.booking.parts().writer.write(forget).await {
            Ok(events) => {
                self.window_is_due = false;
                self.pause.reset();
                WindowResent { events }.emit();
                Turn::Busy
            }
            Err(error) => self.outbox_failed("preparing the window to be sent again", &error),
        }
    }

    async fn send_batch(&mut self) -> Turn {
        let rows =
            match outbox::unsent(&self.booking.parts().readers, self.settings.batch_rows).await {
                Ok(rows) => rows,
                Err(error) => return self.outbox_failed("reading the outbox", &error),
            };
        if rows.is_empty() {
            self.pause.reset();
            return Turn::Idle;
        }
        let round = self.send(rows).await;
        let events = round.sent.len();
        if events > 0 {
            let mark = MarkSent { seqs: round.sent };
            if let Err(error) = self.booking.parts().writer.write(mark).await {
                return self.outbox_failed("marking events as sent", &error);
            }
            EventsSent { events }.emit();
            self.pause.reset();
        }
        match round.failure {
            Some(failure) => self.sending_failed(round.unsent, &failure),
            None => Turn::Busy,
        }
    }

    fn record(&self, row: OutboxRow) -> Record {
        let mut headers = Vec::new();
        if !row.correlation_id.is_empty() {
            headers.push((CORRELATION_ID.to_owned(), row.correlation_id.into_bytes()));
        }
        if row.created_ms < self.log_began_ms {
            headers.push((SENT_AGAIN.to_owned(), Vec::new()));
        }
        Record {
            topic: row.topic,
            key: Some(row.key.into_bytes()),
            value: row.value,
            timestamp_ms: Some(row.created_ms),
            headers,
        }
    }

    /// Sends rows that are in order. Each wave takes the first row of every key; a key whose row fails
    /// is left alone until the next round.
    async fn send(&self, rows: Vec<OutboxRow>) -> Round {
        let mut round = Round::default();
        let mut failed_keys = HashSet::new();
        let mut rest = rows;
        while !rest.is_empty() {
            let (wave, later) = first_of_each_key(rest);
            let mut on_their_way = Vec::with_capacity(wave.len());
            for row in wave {
                let key = (row.topic.clone(), row.key.clone());
                let seq = row.seq;
                on_their_way.push((seq, key, self.sink.enqueue(self.record(row)).await));
            }
            for (seq, key, handed_over) in on_their_way {
                let result = match handed_over {
                    Ok(delivery) => delivery.await,
                    Err(error) => Err(error),
                };
                match result {
                    Ok(_) => round.sent.push(seq),
                    Err(error) => {
                        failed_keys.insert(key);
                        round.unsent += 1;
                        round.failure.get_or_insert(error);
                    }
                }
            }
            let (blocked, next): (Vec<_>, Vec<_>) = later
                .into_iter()
                .partition(|row| failed_keys.contains(&(row.topic.clone(), row.key.clone())));
            round.unsent += blocked.len();
            rest = next;
        }
        round
    }

    /// Removes rows beyond the window, a bounded number at a time, with sending in between.
    async fn prune(&mut self) -> Turn {
        let window_ms = self.booking.parts().config.duplicate_window_ms();
        match self.booking.parts().writer.write(Prune { window_ms }).await {
            Ok(0) => {
                self.prune_at = Instant::now() + self.settings.prune_every;
                Turn::Busy
            }
            Ok(rows) => {
                self.prune_at = Instant::now() + PRUNE_AGAIN;
                OutboxPruned { rows }.emit();
                Turn::Busy
            }
            Err(error) => self.outbox_failed("pruning the outbox", &error),
        }
    }

    fn sending_failed(&mut self, events: usize, failure: &SendError) -> Turn {
        let (attempt, pause) = self.pause.next();
        let reason = &failure.to_string();
        SendingFailed {
            events,
            reason,
            attempt,
            pause,
        }
        .emit();
        Turn::Failed(pause)
    }

    fn outbox_failed(&mut self, doing: &'static str, error: &dyn std::fmt::Display) -> Turn {
        let (attempt, pause) = self.pause.next();
        let reason = &error.to_string();
        OutboxFailed {
            doing,
            reason,
            attempt,
            pause,
        }
        .emit();
        Turn::Failed(pause)
    }
}

impl Booking {
    /// Makes the relay send again what the outbox holds of the duplicate window, counted back from its
    /// newest row, with the first timestamps kept. With an embedded broker the relay does so by itself
    /// when it starts; an operator whose Kafka lost its data can ask for it. Answers how many events.
    ///
    /// # Errors
    /// [`WriteError`]; nothing has changed then.
    pub async fn resend_window(&self) -> Result<u64, WriteError> {
        let window_ms = self.parts().config.duplicate_window_ms();
        self.parts().writer.write(ForgetSent { window_ms }).await
    }
}

async fn measure_lag_until_stopped(booking: &Booking, mut shutdown: watch::Receiver<bool>) {
    let parts = booking.parts();
    loop {
        match outbox::lag(&parts.readers).await {
            Ok(lag) => OutboxLag {
                lag,
                now_ms: parts.clock.now_ms(),
            }
            .emit(),
            Err(error) => tracing::warn!(%error, "the outbox lag could not be measured"),
        }
        tokio::select! {
            () = stop_of(&mut shutdown) => return,
            () = sleep(LAG_EVERY) => {}
        }
    }
}

/// Waits until the relay is to stop. Whoever started it and is gone wants nothing of it any more.
async fn stop_of(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|stop| *stop).await);
}

/// Splits rows into the first of each topic and key, and the others; both keep their order.
fn first_of_each_key(rows: Vec<OutboxRow>) -> (Vec<OutboxRow>, Vec<OutboxRow>) {
    let mut seen = HashSet::with_capacity(rows.len());
    rows.into_iter()
        .partition(|row| seen.insert((row.topic.clone(), row.key.clone())))
}
