//! What the gateway counts.

use metrics::{Counter, Gauge, counter, gauge};

use crate::close::CloseCode;
use crate::recovery::Outcome;

/// Handles of the metrics that are counted often, looked up once. The recorder must be
/// installed before this is made.
pub(crate) struct Telemetry {
    websocket: Transport,
    sse: Transport,
    overflows: Counter,
}

/// The metrics of one way to connect.
pub(crate) struct Transport {
    connections: Gauge,
    pushes: Counter,
    sent_bytes: Counter,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        metrics::describe_gauge!(
            "carillon_gateway_connections",
            "Open connections, by transport."
        );
        metrics::describe_counter!(
            "carillon_gateway_pushes_total",
            "Entries of streams written to clients, by transport."
        );
        metrics::describe_counter!(
            "carillon_gateway_sent_bytes_total",
            "Payload bytes written to clients, by transport."
        );
        metrics::describe_counter!(
            "carillon_gateway_closes_total",
            "Connections closed by the gateway, by code."
        );
        metrics::describe_counter!(
            "carillon_gateway_recoveries_total",
            "Streams that a reconnecting client asked to recover, by outcome."
        );
        metrics::describe_counter!(
            "carillon_gateway_queue_overflows_total",
            "Connections whose queue overflowed because the client read too slowly."
        );
        Self {
            websocket: Transport::new("websocket"),
            sse: Transport::new("sse"),
            overflows: counter!("carillon_gateway_queue_overflows_total"),
        }
    }

    pub(crate) fn websocket(&self) -> &Transport {
        &self.websocket
    }

    pub(crate) fn sse(&self) -> &Transport {
        &self.sse
    }

    pub(crate) fn queue_overflowed(&self) {
        self.overflows.increment(1);
    }
}

impl Transport {
    fn new(name: &'static str) -> Self {
        Self {
            connections: gauge!("carillon_gateway_connections", "transport" => name),
            pushes: counter!("carillon_gateway_pushes_total", "transport" => name),
            sent_bytes: counter!("carillon_gateway_sent_bytes_total", "transport" => name),
        }
    }

    pub(crate) fn opened(&self) {
        self.connections.increment(1);
    }

    pub(crate) fn ended(&self) {
        self.connections.decrement(1);
    }

    pub(crate) fn pushed(&self) {
        self.pushes.increment(1);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_bytes.increment(bytes as u64);
    }
}

/// The gateway closed a connection.
pub(crate) fn closed(code: CloseCode) {
    counter!("carillon_gateway_closes_total", "code" => code.number().to_string()).increment(1);
}

/// A client asked for what it missed in one stream.
pub(crate) fn recovered(outcome: Outcome) {
    counter!("carillon_gateway_recoveries_total", "outcome" => outcome.name()).increment(1);
}
