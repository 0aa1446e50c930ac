//! What the service tells its operator: log line and metric together, one type each.

use std::time::Duration;

use crate::analytics::Summary;
use crate::outbox::Lag;
use crate::status::Status;

/// How far the log is behind.
pub(crate) struct OutboxLag {
    pub(crate) lag: Lag,
    pub(crate) now_ms: i64,
}

impl OutboxLag {
    #[allow(clippy::cast_precision_loss)] // a gauge needs no more than 53 bits
    pub(crate) fn emit(&self) {
        let age_ms = self
            .lag
            .oldest_ms
            .map_or(0, |oldest| self.now_ms.saturating_sub(oldest).max(0));
        metrics::gauge!("carillon_outbox_rows").set(self.lag.rows as f64);
        metrics::gauge!("carillon_outbox_oldest_age_seconds").set(age_ms as f64 / 1000.0);
    }
}

/// The log has acknowledged events.
pub(crate) struct EventsSent {
    pub(crate) events: usize,
}

impl EventsSent {
    pub(crate) fn emit(&self) {
        metrics::counter!("carillon_outbox_sent_total").increment(self.events as u64);
        tracing::debug!(events = self.events, "events sent");
    }
}

/// Events could not be sent; they will be sent again.
pub(crate) struct SendingFailed<'a> {
    pub(crate) events: usize,
    pub(crate) reason: &'a str,
    pub(crate) attempt: u32,
    pub(crate) pause: Duration,
}

impl SendingFailed<'_> {
    pub(crate) fn emit(&self) {
        metrics::counter!("carillon_outbox_send_failures_total").increment(self.events as u64);
        tracing::warn!(
            events = self.events,
            reason = self.reason,
            attempt = self.attempt,
            pause_ms = self.pause.as_millis(),
            "events could not be sent; they stay in the outbox and are sent again"
        );
    }
}

/// The outbox itself could not be read or written.
pub(crate) struct OutboxFailed<'a> {
    pub(crate) doing: &'static str,
    pub(crate) reason: &'a str,
    pub(crate) attempt: u32,
    pub(crate) pause: Duration,
}

impl OutboxFailed<'_> {
    pub(crate) fn emit(&self) {
        metrics::counter!("carillon_outbox_errors_total").increment(1);
        tracing::error!(
            doing = self.doing,
            reason = self.reason,
            attempt = self.attempt,
            pause_ms = self.pause.as_millis(),
            "the outbox does not work; trying again"
        );
    }
}

/// An embedded broker starts empty: the window is told again.
pub(crate) struct WindowResent {
    pub(crate) events: u64,
}

impl WindowResent {
    pub(crate) fn emit(&self) {
        metrics::counter!("carillon_outbox_resent_total").increment(self.events);
        tracing::info!(
            events = self.events,
            "the embedded broker starts empty; the events of the duplicate window are sent again"
        );
    }
}

/// Rows beyond the window are gone.
pub(crate) struct OutboxPruned {
    pub(crate) rows: u64,
}

impl OutboxPruned {
    pub(crate) fn emit(&self) {
        metrics::counter!("carillon_outbox_pruned_total").increment(self.rows);
        tracing::debug!(rows = self.rows, "outbox pruned");
    }
}

/// A request was answered.
pub(crate) struct RequestAnswered<'a> {
    pub(crate) method: &'a str,
    /// The route with its placeholders, so that ids do not become series of their own.
    pub(crate) route: &'a str,
    pub(crate) status: u16,
    pub(crate) took: Duration,
}

impl RequestAnswered<'_> {
    pub(crate) fn emit(&self) {
        metrics::counter!(
            "carillon_booking_requests_total",
            "method" => self.method.to_owned(),
            "route" => self.route.to_owned(),
            "status" => self.status.to_string(),
        )
        .increment(1);
        metrics::histogram!(
            "carillon_booking_request_seconds",
            "method" => self.method.to_owned(),
            "route" => self.route.to_owned(),
        )
        .record(self.took.as_secs_f64());
        tracing::debug!(
            route = self.route,
            status = self.status,
            took_us = self.took.as_micros(),
            "answered"
        );
    }
}

/// A place is held for somebody from a waitlist. Holds are counted as they are written: one whose
/// commit fails, which takes a broken disk, is counted too.
pub(crate) struct HoldGiven;

impl HoldGiven {
    pub(crate) fn emit(&self) {
        metrics::counter!("carillon_holds_given_total").increment(1);
    }
}

/// What was held is booked.
pub(crate) struct HoldAccepted;

impl HoldAccepted {
    pub(crate) fn emit(&self) {
        metrics::counter!("carillon_holds_accepted_total").increment(1);
    }
}

/// What was held is free again.
pub(crate) struct HoldEnded {
    /// `hold.expired` or `hold.returned`.
    pub(crate) how: &'static str,
}

impl HoldEnded {
    pub(crate) fn emit(&self) {
        metrics::counter!("carillon_holds_ended_total", "how" => self.how).increment(1);
    }
}

/// How many wait.
pub(crate) struct Waiting {
    pub(crate) entries: i64,
}

impl Waiting {
    #[allow(clippy::cast_precision_loss)] // a gauge needs no more than 53 bits
    pub(crate) fn emit(&self) {
        metrics::gauge!("carillon_waitlist_waiting").set(self.entries as f64);
    }
}

/// How the place was used of late. The labels are statuses and quantiles, whatever is booked.
pub(crate) struct RecentUse<'a> {
    pub(crate) summary: &'a Summary,
}

impl RecentUse<'_> {
    #[allow(clippy::cast_precision_loss)] // a gauge needs no more than 53 bits
    pub(crate) fn emit(&self) {
        let summary = self.summary;
        for status in Status::ALL {
            let bookings = summary.bookings_by_status.get(status.as_str());
            metrics::gauge!("carillon_recent_bookings", "status" => status.as_str())
                .set(bookings.copied().unwrap_or(0) as f64);
        }
        let lead = &summary.lead_time_minutes;
        for (quantile, minutes) in [("0.5", lead.p50), ("0.9", lead.p90)] {
            metrics::gauge!("carillon_recent_lead_time_minutes", "quantile" => quantile)
                .set(minutes.map_or(f64::NAN, |minutes| minutes as f64));
        }
        metrics::gauge!("carillon_recent_no_show_ratio")
            .set(summary.no_show_rate.unwrap_or(f64::NAN));
        metrics::gauge!("carillon_recent_waitlist_conversion_ratio")
            .set(summary.waitlist.conversion.unwrap_or(f64::NAN));
    }
}

/// Something was due and is done.
pub(crate) struct SweepDone {
    /// Which kind of thing.
    pub(crate) kind: &'static str,
    pub(crate) rows: u64,
}

impl SweepDone {
    pub(crate) fn emit(&self) {
        metrics::counter!("carillon_sweep_rows_total", "kind" => self.kind).increment(self.rows);
        tracing::debug!(kind = self.kind, rows = self.rows, "swept");
    }
}

/// Something was due and could not be done.
pub(crate) struct SweepFailed<'a> {
    pub(crate) error: &'a dyn std::fmt::Display,
}

impl SweepFailed<'_> {
    pub(crate) fn emit(&self) {
        metrics::counter!("carillon_sweep_failures_total").increment(1);
        tracing::error!(error = %self.error, "a sweep failed; what is due is tried again");
    }
}
