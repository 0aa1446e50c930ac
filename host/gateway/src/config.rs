//! The section `[gateway]` of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How the gateway treats its clients. Every key has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// How long a new WebSocket may take to send `connect`, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The time between two pings of the server, in milliseconds. Clients learn it in
    /// whole seconds (rounded up) and give a connection up when none comes.
    pub ping_interval_ms: u64,
    /// How long a ping may stay unanswered, in milliseconds.
    pub pong_timeout_ms: u64,
    /// How long a connection outlives its token, so that a refresh that is on its way
    /// can arrive, in milliseconds.
    pub expired_close_delay_ms: u64,
    /// How long a closing connection may take to deliver its close frame and to answer
    /// it, in milliseconds.
    pub close_timeout_ms: u64,
    /// How long a shutdown waits for connections to end, in milliseconds.
    pub shutdown_timeout_ms: u64,
    /// The largest message that a client may send.
    pub max_message_bytes: usize,
    /// What may wait for one client that reads too slowly. A client above it is closed
    /// with a code that says reconnect.
    pub queue_bytes: usize,
    /// The most entries of one stream that a reconnecting client gets back. Beyond it
    /// the client is told `recovered: false` and reads its inbox instead.
    pub max_recovery: u32,
    /// The most bytes, over all its streams, that a reconnecting client gets back.
    pub max_recovery_bytes: usize,
    /// How many connections may read what they missed at the same time. Bounds memory
    /// and the load on the store when everybody reconnects at once.
    pub concurrent_recoveries: usize,
    /// The most open connections. Beyond it, new ones are refused with 503.
    pub max_connections: usize,
    /// The most streams of one connection: the user's and one for each group.
    pub max_streams: usize,
    /// The read buffer of a WebSocket. Messages of clients are small and rare; memory
    /// per idle connection is what counts.
    pub read_buffer_bytes: usize,
    /// The time between two comments on an otherwise silent event stream, in
    /// milliseconds, so that proxies keep it open.
    pub sse_heartbeat_ms: u64,
    /// Serves tokens for the demonstration users to everybody who asks. Not for
    /// production.
    pub demo: bool,
    /// The users that the page at `/` offers when `demo` is on.
    pub demo_users: Vec<String>,
    /// The groups of the demonstration users.
    pub demo_groups: Vec<String>,
    /// The resources that the page at `/` offers.
    pub demo_resources: Vec<String>,
    /// Where browsers reach the booking API, for the page at `/`; not set, where `carillon run`
    /// serves it, or else `http://127.0.0.1:8080`.
    pub booking_url: Option<String>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            connect_timeout_ms: 10_000,
            ping_interval_ms: 25_000,
            pong_timeout_ms: 10_000,
            expired_close_delay_ms: 10_000,
            close_timeout_ms: 3_000,
            shutdown_timeout_ms: 10_000,
            max_message_bytes: 64 * 1024,
            queue_bytes: 1024 * 1024,
            max_recovery: 1_000,
            max_recovery_bytes: 4 * 1024 * 1024,
            concurrent_recoveries: 32,
            max_connections: 100_000,
            max_streams: 101,
            read_buffer_bytes: 512,
            sse_heartbeat_ms: 15_000,
            demo: false,
            demo_users: (1..=7).map(|n| format!("user-{n}")).collect(),
            demo_groups: vec!["staff".to_owned()],
            demo_resources: (1..=4).map(|n| format!("room-{n}")).collect(),
            booking_url: None,
        }
    }
}

/// A value that the gateway cannot work with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("gateway.{key} is {found}: it must be {wanted}")]
pub struct ConfigError {
    key: &'static str,
    found: u64,
    wanted: &'static str,
}

/// A year: keeps times far from what a timer can hold.
const MAX_WAIT_MS: u64 = 365 * 24 * 3600 * 1000;

impl GatewayConfig {
    /// Where browsers reach the booking API.
    pub(crate) fn booking_url(&self) -> &str {
        self.booking_url
            .as_deref()
            .unwrap_or("http://127.0.0.1:8080")
    }

    /// Looks for values that are readable and still make no sense.
    ///
    /// # Errors
    /// Names the first key whose value is out of range, and the range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let times = [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("ping_interval_ms", self.ping_interval_ms),
            ("pong_timeout_ms", self.pong_timeout_ms),
            ("close_timeout_ms", self.close_timeout_ms),
            ("shutdown_timeout_ms", self.shutdown_timeout_ms),
            ("sse_heartbeat_ms", self.sse_heartbeat_ms),
        ];
        for (key, found) in times {
            if !(1..=MAX_WAIT_MS).contains(&found) {
                return Err(ConfigError {
                    key,
                    found,
                    wanted: "between 1 millisecond and a year",
                });
            }
        }
        if self.expired_close_delay_ms > MAX_WAIT_MS {
            let found = self.expired_close_delay_ms;
            return Err(ConfigError {
                key: "expired_close_delay_ms",
                found,
                wanted: "a year at the most",
            });
        }
        let sizes = [
            (
                "max_message_bytes",
                self.max_message_bytes,
                1024,
                "at least 1024, so that a token fits",
            ),
            (
                "queue_bytes",
                self.queue_bytes,
                1024,
                "at least 1024, so that a notification fits",
            ),
            (
                "concurrent_recoveries",
                self.concurrent_recoveries,
                1,
                "at least 1",
            ),
            (
                "max_streams",
                self.max_streams,
                1,
                "at least 1, the user's own",
            ),
            (
                "read_buffer_bytes",
                self.read_buffer_bytes,
                64,
                "at least 64",
            ),
        ];
        for (key, found, least, wanted) in sizes {
            if found < least {
                return Err(ConfigError {
                    key,
                    found: found as u64,
                    wanted,
                });
            }
        }
        Ok(())
    }

    pub(crate) fn ping_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval_ms)
    }

    pub(crate) fn close_timeout(&self) -> Duration {
        Duration::from_millis(self.close_timeout_ms)
    }

    /// The interval as the connect reply tells it: whole seconds, 0 would mean none.
    pub(crate) fn ping_interval_s(&self) -> u64 {
        self.ping_interval_ms.div_ceil(1000)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_defaults_are_accepted() {
        GatewayConfig::default().check().unwrap();
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error =
            serde_json::from_str::<GatewayConfig>(r#"{"ping_intervall_ms": 1}"#).unwrap_err();
        assert!(error.to_string().contains("ping_intervall_ms"), "{error}");
    }

    #[test]
    fn a_value_without_sense_is_refused_with_its_key_and_range() {
        let config = GatewayConfig {
            ping_interval_ms: 0,
            ..GatewayConfig::default()
        };
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "gateway.ping_interval_ms is 0: it must be between 1 millisecond and a year",
        );
        assert!(
            GatewayConfig {
                queue_bytes: 10,
                ..GatewayConfig::default()
            }
            .check()
            .is_err()
        );
    }
}
