//! Something that handles events: one version of a plugin, or a lane that is built in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use carillon_events::{Kind, Subscription};
use carillon_sandbox::Plugin;
use carillon_store::{PluginId, TrialId, VersionId};
use metrics::Counter;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::batch::{Decoded, Item};
use crate::counted::counted;
use crate::gate::{Gate, Report};
use crate::log_book::LogBook;
use crate::state_space::StateSpace;
use crate::stats::Stats;

/// One version of a plugin with its settings and grants, as lanes run it.
pub(crate) struct Handler {
    pub(crate) id: PluginId,
    pub(crate) name: Arc<str>,
    pub(crate) version: VersionId,
    /// The plugin's own word for its version.
    pub(crate) label: Arc<str>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) code: Code,
    /// Shared by all lanes of a plugin that imports `state`.
    pub(crate) state: Option<Arc<StateSpace>>,
    pub(crate) role: Role,
    /// Events that were logged before are not its, where they are sent again: an embedded broker gets
    /// them at each start, also those from before the plugin was there. Milliseconds since 1970.
    pub(crate) not_before_ms: i64,
    pub(crate) plugin: Arc<PluginShared>,
    pub(crate) activity: Activity,
}

/// What a handler is doing; nothing yet by default.
#[derive(Default)]
pub(crate) struct Activity {
    /// Runs that were made and are not done.
    running: AtomicUsize,
    retired: AtomicBool,
}

/// What all versions of a plugin share.
pub(crate) struct PluginShared {
    pub(crate) gate: Gate,
    pub(crate) stats: Arc<Stats>,
    pub(crate) counters: Counters,
    pub(crate) book: Arc<LogBook>,
}

/// What is counted for each event; looked up once, since a look-up costs as much as a call.
pub(crate) struct Counters {
    pub(crate) handled: Counter,
    pub(crate) rejected: Counter,
    pub(crate) retried: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) dead_letters: Counter,
    pub(crate) left_head: Counter,
}

impl Counters {
    pub(crate) fn new(plugin: &str) -> Self {
        let calls = |outcome: &'static str| metrics::counter!("carillon_plugin_calls_total", "plugin" => plugin.to_owned(), "outcome" => outcome);
        Self {
            handled: calls("handled"),
            rejected: calls("rejected"),
            retried: calls("retried"),
            duplicates: metrics::counter!("carillon_duplicate_events_total", "plugin" => plugin.to_owned()),
            dead_letters: metrics::counter!("carillon_dead_letters_total", "plugin" => plugin.to_owned()),
            left_head: metrics::counter!("carillon_lanes_left_head_total", "plugin" => plugin.to_owned()),
        }
    }
}

pub(crate) enum Code {
    Sandboxed(Plugin),
    /// Requests for a notification, see [`crate::direct`].
    DirectRequests,
}

/// What becomes of the answers.
pub(crate) enum Role {
    /// They take effect.
    Active,
    /// They take effect, and are recorded beside those of a shadow.
    Compared(TrialId),
    /// They take effect, and some keys go to a candidate.
    Shared(Arc<Canary>),
    /// They are recorded and nothing else.
    Shadow(Arc<FaultRule>),
}

/// A candidate that gets a share of the keys.
pub(crate) struct Canary {
    pub(crate) plugin: Plugin,
    pub(crate) version: VersionId,
    pub(crate) label: Arc<str>,
    pub(crate) subscriptions: Vec<Subscription>,
    /// 1 to 99.
    pub(crate) percent: u8,
    pub(crate) stats: Arc<Stats>,
    pub(crate) rule: FaultRule,
}

/// When a candidate is taken away by itself.
pub(crate) struct FaultRule {
    pub(crate) trial: TrialId,
    /// Whose candidate.
    pub(crate) plugin: PluginId,
    /// Faults in all.
    pub(crate) limit: u32,
    pub(crate) faults: AtomicU32,
    pub(crate) reports: mpsc::Sender<Report>,
}

impl FaultRule {
    /// A call has failed.
    pub(crate) fn fault(&self, reason: &str) {
        let faults = self.faults.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        // Again with each further one, should the first report have been lost.
        if faults >= self.limit {
            let report = Report::TrialFailed {
                plugin: self.plugin,
                trial: self.trial,
                reason: format!("{}; the last one: {reason}", counted(faults, "fault")),
            };
            // A full queue holds such a report already.
            let _ = self.reports.try_send(report);
        }
    }
}

impl Canary {
    /// Whether an event is the candidate's. The same key always goes the same way, on every
    /// host and after every restart.
    pub(crate) fn takes(&self, name: &str, item: &Item, decoded: &Decoded) -> bool {
        let event = &decoded.event;
        let key = item
            .record
            .key
            .as_deref()
            .or(event.subject_id.as_deref().map(str::as_bytes))
            .unwrap_or(event.id.as_bytes());
        canary_share(name, key) < u64::from(self.percent)
            && self
                .subscriptions
                .iter()
                .any(|subscription| subscription.matches(&event.kind))
    }
}

/// Where a key stands among a hundred.
pub(crate) fn canary_share(name: &str, key: &[u8]) -> u64 {
    let hash = Sha256::new()
        .chain_update(name.as_bytes())
        .chain_update([0])
        .chain_update(key)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first) % 100
}

impl Handler {
    pub(crate) fn wants(&self, kind: &Kind) -> bool {
        self.subscriptions
            .iter()
            .any(|subscription| subscription.matches(kind))
    }

    /// Whether its calls may wait for hosts of the network.
    pub(crate) fn reaches_out(&self) -> bool {
        let canary = match &self.role {
            Role::Shared(canary) => canary.plugin.imports_http(),
            Role::Active | Role::Compared(_) | Role::Shadow(_) => false,
        };
        match &self.code {
            Code::Sandboxed(plugin) => canary || plugin.imports_http(),
            Code::DirectRequests => false,
        }
    }

    /// Whether its lanes may stand at the head. One that waits for the network is late with every
    /// batch, and a batch that it does not finish would be dialled for again.
    pub(crate) fn may_stand_at_head(&self) -> bool {
        self.plugin.gate.is_open() && !self.reaches_out()
    }

    /// The host panicked over an event: a fault of who was to take it.
    pub(crate) fn panicked(&self, item: Option<&Item>, reason: &str) {
        let decoded = item.and_then(|item| Some((item, item.content.as_ref().ok()?)));
        match &self.role {
            Role::Shadow(rule) => rule.fault(reason),
            Role::Shared(canary)
                if decoded
                    .is_some_and(|(item, decoded)| canary.takes(&self.name, item, decoded)) =>
            {
                canary.rule.fault(reason);
            }
            // What a version did that has given way says nothing about its successor.
            _ if self.is_retired() => {}
            _ => self.plugin.gate.fault(reason),
        }
    }

    /// Another version has taken its place: long runs end before their next event.
    pub(crate) fn retire(&self) {
        self.activity.retired.store(true, Ordering::Release);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.activity.retired.load(Ordering::Acquire)
    }

    /// Runs that were made and are not done.
    pub(crate) fn running(&self) -> usize {
        self.activity.running.load(Ordering::Acquire)
    }
}

/// A handler that a run is about to use.
pub(crate) struct InUse(Arc<Handler>);

impl InUse {
    pub(crate) fn of(handler: &Arc<Handler>) -> Self {
        handler.activity.running.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(handler))
    }

    pub(crate) fn handler(&self) -> &Arc<Handler> {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.activity.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shared_out_evenly_and_always_the_same_way() {
        let shares: Vec<u64> = (0..10_000)
            .map(|n: u32| canary_share("booking-updates", n.to_string().as_bytes()))
            .collect();
        let tenth = shares.iter().filter(|share| **share < 10).count();
        assert!((900..1_100).contains(&tenth), "{tenth} of 10,000");
        // Held, since another value would move keys between versions at an update of the host.
        assert_eq!(shares[..3], [64, 49, 6]);
    }
}
