//! `[booking_service]`: what an operator can set.

use carillon_bus::ProducerConfig;
use serde::Deserialize;

use crate::error::BookingError;
use crate::proxy::TrustedProxy;

/// The shortest duplicate window, in seconds: a repeat that comes later than this is taken for new.
const MIN_WINDOW_S: u64 = 60;

/// Settings of the booking service.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BookingConfig {
    /// Whether callers need a bearer token. Without it everybody may do everything, for anybody.
    pub require_token: bool,
    /// Origins of pages that may call this API (CORS), such as `http://127.0.0.1:8090`; `*` is any.
    pub allowed_origins: Vec<String>,
    /// How long events that were sent are kept, in seconds, counted back from the newest: what the
    /// embedded broker is told again after a restart. The host's window should not be shorter.
    pub duplicate_window_s: u64,
    /// How long a place is held for somebody from the waitlist, in seconds.
    pub hold_s: u64,
    /// How long before its start people can check in to a booking, in minutes.
    pub check_in_early_minutes: u32,
    /// How long after its start a booking counts as missed where nobody has checked in, in
    /// minutes, for resources that do not say it themselves; 0: never.
    pub no_show_after_minutes: u32,
    /// How long after its end a booking that nobody checked out of is released, in minutes.
    pub release_after_minutes: u32,
    /// How often the service looks for what is due: holds that end, bookings that were missed, in
    /// milliseconds.
    pub sweep_every_ms: u64,
    /// Requests of one caller in a second, counted by user, or by address where there is no
    /// token; 0: as many as they like.
    pub requests_per_s: u32,
    /// How many requests of one caller may come at once.
    pub requests_at_once: u32,
    /// Reverse proxies, by address or network (`10.0.0.0/8`), that are believed when they say for whom
    /// they ask (`X-Forwarded-For`).
    pub trusted_proxies: Vec<TrustedProxy>,
    /// The address for e-mail that invitations come from, and answers to them go to.
    pub calendar_organizer: Option<String>,
    /// Whether each request is told of as `analytics.recorded`, without who made it.
    pub analytics: bool,
    /// How long answers to requests with an `Idempotency-Key` are kept, in seconds.
    pub idempotency_s: u64,
    /// `[booking_service.kafka]`: where events go, and what the topics are called.
    pub kafka: ProducerConfig,
}

impl Default for BookingConfig {
    fn default() -> Self {
        Self {
            require_token: false,
            allowed_origins: vec![
                "http://127.0.0.1:8090".into(),
                "http://localhost:8090".into(),
            ],
            duplicate_window_s: 24 * 60 * 60,
            hold_s: 15 * 60,
            check_in_early_minutes: 30,
            no_show_after_minutes: 15,
            release_after_minutes: 15,
            sweep_every_ms: 1_000,
            requests_per_s: 0,
            requests_at_once: 100,
            trusted_proxies: Vec::new(),
            calendar_organizer: None,
            analytics: true,
            idempotency_s: 24 * 60 * 60,
            kafka: ProducerConfig::default(),
        }
    }
}

impl BookingConfig {
    /// Refuses values that could not work.
    ///
    /// # Errors
    /// [`BookingError::Config`], which names the key.
    pub fn check(&self) -> Result<(), BookingError> {
        if self.duplicate_window_s < MIN_WINDOW_S {
            return Err(BookingError::Config {
                key: "duplicate_window_s",
                reason: format!(
                    "{} s is too short; give at least {MIN_WINDOW_S}",
                    self.duplicate_window_s
                ),
            });
        }
        for (key, value, least) in [
            ("hold_s", self.hold_s, 1),
            ("sweep_every_ms", self.sweep_every_ms, 10),
            ("idempotency_s", self.idempotency_s, 60),
            ("requests_at_once", self.requests_at_once.into(), 1),
        ] {
            if value < least {
                return Err(BookingError::Config {
                    key,
                    reason: format!("{value} is too little; give at least {least}"),
                });
            }
        }
        for origin in &self.allowed_origins {
            check_origin(origin)?;
        }
        if let Some(organizer) = &self.calendar_organizer {
            check_organizer(organizer)?;
        }
        Ok(())
    }

    /// How long a place is held, in milliseconds.
    pub(crate) fn hold_ms(&self) -> i64 {
        i64::try_from(self.hold_s)
            .unwrap_or(i64::MAX)
            .saturating_mul(1000)
    }

    /// How long answers to requests with an `Idempotency-Key` are kept, in milliseconds.
    pub(crate) fn answers_ms(&self) -> i64 {
        i64::try_from(self.idempotency_s)
            .unwrap_or(i64::MAX)
            .saturating_mul(1000)
    }

    /// The duplicate window in milliseconds.
    pub(crate) fn duplicate_window_ms(&self) -> i64 {
        i64::try_from(self.duplicate_window_s)
            .unwrap_or(i64::MAX)
            .saturating_mul(1000)
    }
}

/// An origin is scheme, host and port (RFC 6454, section 6.2): browsers send nothing after it.
fn check_origin(origin: &str) -> Result<(), BookingError> {
    let host = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    let fits = origin == "*"
        || host.is_some_and(|host| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'/')
        });
    match fits {
        true => Ok(()),
        false => Err(BookingError::Config {
            key: "allowed_origins",
            reason: format!(
                "{origin:?} is no origin; write it as `http://127.0.0.1:8090`, without a path, or `*` for any"
            ),
        }),
    }
}

/// Not every address that this lets through exists, but what no mail program takes stops here.
fn check_organizer(address: &str) -> Result<(), BookingError> {
    let parts = address.split_once('@');
    let fits = parts.is_some_and(|(local, host)| !local.is_empty() && !host.is_empty())
        && address.bytes().all(|byte| byte.is_ascii_graphic())
        && address.bytes().filter(|byte| *byte == b'@').count() == 1;
    match fits {
        true => Ok(()),
        false => Err(BookingError::Config {
            key: "calendar_organizer",
            reason: format!(
                "{address:?} is no address for e-mail; write it as `rooms@example.org`"
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organizer_without_an_address_for_mail_is_refused() {
        for (address, fits) in [
            ("rooms@example.org", true),
            ("rooms", false),
            ("@example.org", false),
            ("Rooms <rooms@example.org>", false),
            ("a@b@c", false),
        ] {
            let config = BookingConfig {
                calendar_organizer: Some(address.into()),
                ..BookingConfig::default()
            };
            assert_eq!(config.check().is_ok(), fits, "{address}");
        }
    }

    #[test]
    fn the_default_configuration_passes_its_own_check() {
        assert!(BookingConfig::default().check().is_ok());
    }

    #[test]
    fn an_origin_with_a_path_or_without_a_scheme_is_refused() {
        for odd in [
            "",
            "localhost:8090",
            "http://",
            "http://a/b",
            "ftp://a",
            "http://ä",
        ] {
            let config = BookingConfig {
                allowed_origins: vec![odd.into()],
                ..BookingConfig::default()
            };
            let text = config.check().map_err(|error| error.to_string());
            assert!(
                text.is_err_and(|text| text.contains("allowed_origins")),
                "{odd}"
            );
        }
    }

    #[test]
    fn a_window_of_seconds_is_refused() {
        let config = BookingConfig {
            duplicate_window_s: 5,
            ..BookingConfig::default()
        };
        assert!(config.check().is_err());
    }
}
