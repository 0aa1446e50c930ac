//! What the service tells its operator: log line and metric together, one type each.

use std::time::Duration;

use crate::outbox::Lag;

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
