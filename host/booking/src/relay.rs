//! The relay: from the outbox to the log, in order, without end.
//!
//! It reads the first unsent rows, sends them, waits for the log's acknowledgement, and marks them sent
//! in one statement. A crash at any of these points leaves rows unmarked that the log may have already;
//! they are sent again with the same event id, which is what readers know a repeat by.
//!
//! Events of one key are sent one after another, each only when the log has the one before it; events
//! of different keys are on their way together. So a record that fails can never be overtaken by a
//! later one of its key, whatever the producer's own retries do. Nor does it hold up any other key:
//! what fails, or is not acknowledged for a while, is left out with its key until the outbox has been
//! gone through, and then tried again.

mod flight;
mod pass;
mod pause;
mod sink;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use carillon_bus::{CORRELATION_ID, Record, SENT_AGAIN};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::outbox::{self, MarkSent, OutboxRow, UnsentPage};
use crate::service::Booking;
use crate::telemetry::{EventsSent, OutboxFailed, SendingFailed};
use flight::{Flight, Landed, RowKey};
use pass::{Again, Pass};
use pause::Pause;
pub use sink::RecordSink;
use upkeep::measure_lag_until_stopped;

/// How long what is on its way may take to arrive once the service stops.
const GRACE: Duration = Duration::from_secs(3);

/// How many times the batch may be on its way and late, of one topic, before the whole topic is left
/// out. Up to there a partition that does not answer holds up its own keys and no others; the bound
/// keeps memory and the producer's queue from filling with it.
const LATE_BATCHES: usize = 4;

/// How the relay works. The defaults are for every use but tests.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// Rows read, and on their way, at a time, which bounds what the relay holds in memory.
    pub batch_rows: u32,
    /// How long the log may take to acknowledge a record before the rest of its key stops waiting in
    /// memory for it.
    pub patience: Duration,
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
            patience: Duration::from_secs(5),
            poll: Duration::from_secs(1),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(10),
            prune_every: Duration::from_secs(60),
        }
    }
}

pub(crate) struct Relay<S> {
    booking: Booking,
    sink: Arc<S>,
    settings: RelaySettings,
    flight: Flight,
    pass: Pass,
    /// What the log has and the outbox does not know of yet.
    sent: Vec<i64>,
    /// When it is looked next for what is late.
    look_for_late_at: Instant,
    pause: Pause,
    window_is_due: bool,
    /// What was written before stood in the log of an embedded broker that is gone; milliseconds
    /// since 1970, and 0 where the log lasts.
    log_began_ms: i64,
    prune_at: Instant,
    /// How far pruning has come; 0 at the front.
    pruned_to_seq: i64,
}

/// What one look at the outbox came to.
enum Turn {
    /// Nothing can be done before something happens.
    Idle,
    /// Something was done, and there may be more to do.
    Busy,
    /// The outbox does not work, and is tried again after this pause.
    Failed(Duration),
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
            sink: Arc::new(sink),
            flight: Flight::default(),
            pass: Pass::default(),
            sent: Vec::new(),
            look_for_late_at: Instant::now(),
            pause: Pause::new(settings.first_pause, settings.longest_pause),
            // Not at the start: what a restart has to send again goes first.
            prune_at: Instant::now() + settings.prune_every,
            pruned_to_seq: 0,
            settings,
        }
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self, shutdown: watch::Receiver<bool>) {
        // The lag matters most while events wait for a log that does not answer, so it is measured
        // beside the sending and not between two looks at the outbox.
        let booking = self.booking.clone();
        tokio::join!(
            self.send_until_stopped(shutdown.clone()),
            measure_lag_until_stopped(&booking, shutdown),
        );
    }

    async fn send_until_stopped(&mut self, mut shutdown: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                () = stop_of(&mut shutdown) => break,
                () = self.turn_and_rest() => {}
            }
        }
        // What is on its way may still arrive and be marked; if not, it is sent again.
        drop(timeout(GRACE, self.land_the_rest()).await);
        drop(timeout(GRACE, self.mark()).await);
    }

    async fn land_the_rest(&mut self) {
        self.flight.let_go_of_waiting();
        while self.flight.rows() > 0 {
            let landed = self.flight.landed().await;
            self.settle(landed);
        }
    }

    async fn turn_and_rest(&mut self) {
        match self.turn().await {
            Turn::Busy => {}
            Turn::Idle => self.rest().await,
            Turn::Failed(pause) => sleep(pause).await,
        }
    }

    /// Waits for something to do: the log answers, a change is committed, or it is time.
    async fn rest(&mut self) {
        let committed = self.booking.parts().writer.committed();
        let mut until = Instant::now() + self.settings.poll;
        if let Some(again) = self.pass.again.filter(|_| self.pass.is_at_end) {
            until = until.min(again.at);
        }
        if self.flight.rows() > 0 {
            until = until.min(self.look_for_late_at);
        }
        tokio::select! {
            landed = self.flight.landed(), if !self.flight.is_empty() => self.settle(landed),
            () = committed.notified() => self.pass.is_at_end = false,
            () = sleep_until(until) => self.pass.is_at_end = false,
        }
    }

    async fn turn(&mut self) -> Turn {
        // First of all: what is not marked would be read and sent again.
        if let Some(failed) = self.mark().await {
            return failed;
        }
        if self.window_is_due {
            return self.resend_window().await;
        }
        if Instant::now() >= self.prune_at {
            return self.prune().await;
        }
        self.give_up_on_late();
        if self.pass.is_over() {
            self.begin_pass();
        }
        let room = self.batch_rows().saturating_sub(self.flight.rows());
        // Not for a single row's sake.
        if self.pass.is_at_end || room * 2 < self.batch_rows() {
            return Turn::Idle;
        }
        self.read(room).await
    }

    fn batch_rows(&self) -> usize {
        self.settings.batch_rows.max(1) as usize
    }

    fn begin_pass(&mut self) {
        self.pass.restart();
        // What is late holds up its key in this pass too.
        for key in self.flight.late() {
            self.pass.leave_out(key.clone());
        }
        if !self.pass.leaves_nothing_out() {
            self.try_again_later();
        }
    }

    /// Reads on, and sends what need not wait for another of its key.
    async fn read(&mut self, room: usize) -> Turn {
        for topic in self
            .flight
            .topics_with_late(LATE_BATCHES * self.batch_rows())
        {
            self.pass.leave_out_topic(topic);
        }
        let parts = self.booking.parts();
        let page = UnsentPage {
            after_seq: self.pass.after_seq,
            without_topics: self.pass.left_out_topics(),
            limit: room,
        };
        let rows = match outbox::unsent(&parts.readers, page).await {
            Ok(rows) => rows,
            Err(error) => return self.outbox_failed("reading the outbox", &error),
        };
        self.pass.is_at_end = rows.len() < room;
        // Only once the log has everything: what fails each time would be tried without a pause
        // otherwise, since a pass begins with nothing left out.
        if rows.is_empty() && self.flight.is_empty() && self.pass.leaves_nothing_out() {
            self.pause.reset();
        }
        for row in rows {
            self.pass.after_seq = row.seq;
            let key = RowKey::of(&row);
            if self.pass.leaves_out(&key) {
                continue;
            }
            if let Some(row) = self.flight.take(&key, row) {
                self.launch(key, row);
            }
        }
        Turn::Busy
    }

    fn launch(&mut self, key: RowKey, row: OutboxRow) {
        let (sink, seq, record) = (Arc::clone(&self.sink), row.seq, self.record(row));
        // Waiting for room in the producer is part of the flight: it may be one topic that has none.
        self.flight.launch(async move {
            let result = match sink.enqueue(record).await {
                Ok(delivery) => delivery.await,
                Err(error) => Err(error),
            };
            Landed { key, seq, result }
        });
    }

    fn settle(&mut self, landed: Vec<Landed>) {
        let (mut unsent, mut failure) = (0, None);
        for Landed { key, seq, result } in landed {
            match result {
                Ok(_) => {
                    self.sent.push(seq);
                    if let Some(next) = self.flight.taken(&key) {
                        self.launch(key, next);
                    }
                }
                Err(error) => {
                    unsent += self.flight.end(&key);
                    self.pass.leave_out(key);
                    failure.get_or_insert(error);
                }
            }
        }
        if let Some(failure) = failure {
            self.sending_failed(unsent, &failure.to_string());
        }
    }

    fn give_up_on_late(&mut self) {
        if Instant::now() < self.look_for_late_at {
            return;
        }
        self.look_for_late_at = Instant::now() + self.settings.patience / 2;
        let late = self.flight.give_up(self.settings.patience);
        if late.is_empty() {
            return;
        }
        let events = late.len();
        for key in late {
            self.pass.leave_out(key);
        }
        let reason = format!(
            "the log has not acknowledged them for {:?}",
            self.settings.patience
        );
        self.sending_failed(events, &reason);
    }

    /// Notes what was sent; what cannot be noted now is noted before anything else is done.
    async fn mark(&mut self) -> Option<Turn> {
        if self.sent.is_empty() {
            return None;
        }
        let mark = MarkSent {
            seqs: self.sent.clone(),
        };
        if let Err(error) = self.booking.parts().writer.write(mark).await {
            return Some(self.outbox_failed("marking events as sent", &error));
        }
        EventsSent {
            events: self.sent.len(),
        }
        .emit();
        self.sent.clear();
        None
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

    fn sending_failed(&mut self, events: usize, reason: &str) {
        let Again { attempt, pause, .. } = self.try_again_later();
        SendingFailed {
            events,
            reason,
            attempt,
            pause,
        }
        .emit();
    }

    /// When what is left out in this pass is tried again: the first failure of a pass decides.
    fn try_again_later(&mut self) -> Again {
        let pause = &mut self.pause;
        *self.pass.again.get_or_insert_with(|| {
            let (attempt, pause) = pause.next();
            let at = Instant::now() + pause;
            Again { at, attempt, pause }
        })
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
    /// The relay: sends what the outbox holds until `shutdown` turns true or its sender is gone. Spawn
    /// it once; two at a time would break the order of events.
    pub fn relay<S: RecordSink>(
        &self,
        sink: S,
        settings: RelaySettings,
        shutdown: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + 'static {
        Relay::new(self.clone(), sink, settings).run(shutdown)
    }
}

/// Waits until the relay is to stop. Whoever started it and is gone wants nothing of it any more.
async fn stop_of(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|stop| *stop).await);
}
