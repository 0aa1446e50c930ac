//! What the relay does beside sending: the window that is sent again, pruning, the lag.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{RecordSink, Relay, Turn, stop_of};
use crate::error::WriteError;
use crate::outbox::{self, ForgetSent, Prune, Pruned};
use crate::service::Booking;
use crate::telemetry::{OutboxLag, OutboxPruned, WindowResent};

/// How often the lag is measured; it is counted over all unsent rows.
const LAG_EVERY: Duration = Duration::from_secs(1);

/// How soon pruning goes on where it has not come to the end.
const PRUNE_AGAIN: Duration = Duration::from_millis(100);

impl<S: RecordSink> Relay<S> {
    /// Sends again what the window holds, before anything else is sent. An embedded broker's log ended
    /// with the process before this one, so nothing of the window counts as sent; which rows that were
    /// is decided by the database, and a crash half way through the sending changes nothing.
    pub(super) async fn resend_window(&mut self) -> Turn {
        match forget_window(&self.booking).await {
            Ok(events) => {
                self.window_is_due = false;
                self.pause.reset();
                WindowResent { events }.emit();
                Turn::Busy
            }
            Err(error) => self.outbox_failed("preparing the window to be sent again", &error),
        }
    }

    /// Removes rows beyond the window, a bounded number at a time, with sending in between.
    pub(super) async fn prune(&mut self) -> Turn {
        let window_ms = self.booking.parts().config.duplicate_window_ms();
        let prune = Prune {
            window_ms,
            after_seq: self.pruned_to_seq,
        };
        match self.booking.parts().writer.write(prune).await {
            Ok(Pruned { rows, went_on_to }) => {
                let pause = match went_on_to {
                    Some(_) => PRUNE_AGAIN,
                    None => self.settings.prune_every,
                };
                self.pruned_to_seq = went_on_to.unwrap_or(0);
                self.prune_at = Instant::now() + pause;
                if rows > 0 {
                    OutboxPruned { rows }.emit();
                }
                Turn::Busy
            }
            Err(error) => self.outbox_failed("pruning the outbox", &error),
        }
    }
}

async fn forget_window(booking: &Booking) -> Result<u64, WriteError> {
    let parts = booking.parts();
    let window_ms = parts.config.duplicate_window_ms();
    let (mut after_seq, mut events) = (0, 0);
    loop {
        let step = ForgetSent {
            window_ms,
            after_seq,
        };
        let forgotten = parts.writer.write(step).await?;
        events += forgotten.rows;
        match forgotten.went_on_to {
            Some(seq) => after_seq = seq,
            None => return Ok(events),
        }
    }
}

pub(super) async fn measure_lag_until_stopped(
    booking: &Booking,
    mut shutdown: watch::Receiver<bool>,
) {
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
