//! How often one caller may ask: a bucket for each, by the generic cell rate algorithm (ITU-T I.371).

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use carillon_web::{Problem, authenticate};
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::app::App;
use super::caller::{Verified, origin};
use crate::clock::Clock;
use crate::config::BookingConfig;

/// With so many buckets, addresses are no longer counted one by one.
const MAX_CALLERS: usize = 50_000;
/// Between how many buckets those are spread who come when so many are there already.
const CROWD_BUCKETS: u64 = 1_024;
/// How often callers are forgotten whose buckets are full again, in milliseconds.
const FORGET_EVERY_MS: i64 = 10_000;

/// What is asked by machines that watch the service; they must not be turned away.
const WATCHERS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    /// The user of a token.
    User(String),
    /// An address; of IPv6 the network, for everybody has a whole one of those.
    Address(IpAddr),
    /// Whoever's address is not known.
    Unknown,
    /// Some of the addresses that are too many to be counted one by one.
    Crowd(u64),
}

impl Who {
    fn at(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V6(address)) => {
                const NETWORK: u128 = !0 << 64;
                Self::Address(IpAddr::V6((address.to_bits() & NETWORK).into()))
            }
            Some(address) => Self::Address(address),
            None => Self::Unknown,
        }
    }
}

/// The service's clock, as the limiter wants it.
struct Ticks(Clock);

impl governor::clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.steady_ms()).unwrap_or(0))
    }
}

/// The buckets of all callers.
pub(super) struct Limits {
    limiter: RateLimiter<Who, HashMapStateStore<Who>, Ticks, NoOpMiddleware<Duration>>,
    ticks: Ticks,
    forgot_ms: AtomicI64,
    hasher: RandomState,
}

impl Limits {
    /// `None` where callers may ask as often as they like.
    pub(super) fn new(config: &BookingConfig, clock: &Clock) -> Option<Self> {
        let per_second = NonZeroU32::new(config.requests_per_s)?;
        let at_once = NonZeroU32::new(config.requests_at_once)?;
        let quota = Quota::per_second(per_second).allow_burst(at_once);
        Some(Self {
            limiter: RateLimiter::hashmap_with_clock(quota, Ticks(clock.clone())),
            ticks: Ticks(clock.clone()),
            forgot_ms: AtomicI64::new(clock.steady_ms()),
            hasher: RandomState::new(),
        })
    }

    /// Counts a request; the error is how long to wait until the next one is taken.
    fn take(&self, who: Who) -> Result<(), Duration> {
        self.forget();
        // Whoever has a token keeps a bucket of their own: of users there are only so many, and the
        // addresses of somebody who has many must not take their place.
        let who = match who {
            Who::Address(_) if self.limiter.len() >= MAX_CALLERS => {
                Who::Crowd(self.hasher.hash_one(&who) % CROWD_BUCKETS)
            }
            who => who,
        };
        self.limiter
            .check_key(&who)
            .map_err(|until| until.wait_time_from(self.ticks.now()))
    }

    fn forget(&self) {
        let now_ms = self.ticks.0.steady_ms();
        let due = |forgot_ms: i64| {
            (now_ms.saturating_sub(forgot_ms) >= FORGET_EVERY_MS).then_some(now_ms)
        };
        // One request in ten seconds does it for all.
        let mine = self
            .forgot_ms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, due);
        if mine.is_ok() {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }
}

/// Turns away who asks too often.
pub(super) async fn limit(
    State(App(app)): State<App>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(limits) = &app.limits else {
        return next.run(request).await;
    };
    if WATCHERS.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let claims = app
        .tokens
        .as_ref()
        .and_then(|verifier| authenticate(request.headers(), verifier).ok());
    let who = match claims {
        Some(claims) => {
            let who = Who::User(claims.user.clone());
            request.extensions_mut().insert(Verified(claims));
            who
        }
        None => {
            let proxies = &app.booking.parts().config.trusted_proxies;
            Who::at(origin(proxies, request.extensions(), request.headers()))
        }
    };
    match limits.take(who) {
        Ok(()) => next.run(request).await,
        Err(wait) => too_many(wait).into_response(),
    }
}

fn too_many(wait: Duration) -> Problem {
    // Whole seconds, and never one too early.
    let seconds = (wait.as_secs() + 1).max(1);
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        format!(
            "These are more requests than one caller may send. Send the next one in {seconds} s."
        ),
    )
    .with_code("too-many-requests")
    .with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;

    fn limits() -> (Limits, Arc<AtomicI64>) {
        let now = Arc::new(AtomicI64::new(0));
        let shown = Arc::clone(&now);
        let clock = Clock::from_fn(move || shown.load(Ordering::Relaxed));
        let config = BookingConfig {
            requests_per_s: 1,
            requests_at_once: 2,
            ..BookingConfig::default()
        };
        (Limits::new(&config, &clock).unwrap(), now)
    }

    #[test]
    fn addresses_of_one_ipv6_network_and_both_spellings_of_ipv4_are_one_caller() {
        let at = |text: &str| Who::at(Some(text.parse().unwrap()));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("192.0.2.2"), at("192.0.2.1"));
    }

    #[test]
    fn however_many_callers_come_only_so_many_buckets_are_kept_and_full_ones_are_forgotten() {
        let (limits, now) = limits();
        for number in 0..u32::try_from(MAX_CALLERS * 2).unwrap() {
            // In the crowd some are turned away, which is what it is for.
            let _ = limits.take(Who::Address(IpAddr::V4(number.into())));
        }
        let most = MAX_CALLERS + usize::try_from(CROWD_BUCKETS).unwrap();
        assert!(limits.limiter.len() <= most, "{}", limits.limiter.len());
        assert!(limits.limiter.len() > MAX_CALLERS);
        // However many addresses come, each user is served as often as ever.
        for user in 0..CROWD_BUCKETS * 2 {
            for _ in 0..2 {
                assert!(limits.take(Who::User(user.to_string())).is_ok());
            }
        }
        now.store(FORGET_EVERY_MS, Ordering::Relaxed);
        let _ = limits.take(Who::Unknown);
        assert_eq!(limits.limiter.len(), 1);
    }

    #[test]
    fn who_is_forgotten_gets_no_more_than_who_is_remembered() {
        let (limits, now) = limits();
        let user = || Who::User("user-1".into());
        now.store(FORGET_EVERY_MS - 1, Ordering::Relaxed);
        assert!(limits.take(user()).is_ok());
        assert!(limits.take(user()).is_ok());
        // The cleaning of this moment leaves the bucket, for it is not full again.
        now.store(FORGET_EVERY_MS, Ordering::Relaxed);
        assert!(limits.take(user()).is_err());
    }
}
