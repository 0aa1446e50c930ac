//! Whether a plugin's lanes may go on: its run state, and the faults that change it.
//!
//! A plugin's gate outlives its versions. Faults in a row close it; then one lane at a time may try
//! its event, with growing pauses, until a call succeeds.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use carillon_store::{PluginId, RunState, TrialId};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::backoff::{now_ms, pause};
use crate::counted::counted;

/// What the gates and trials of this host report to the warden, which writes it down.
#[derive(Debug, Clone)]
pub(crate) enum Report {
    /// A run state changed by itself; the gate tells what it is.
    Changed { plugin: PluginId },
    /// A candidate has made too many faults.
    TrialFailed {
        plugin: PluginId,
        trial: TrialId,
        reason: String,
    },
}

/// Reports that may wait. One more is dropped, and the log has it; run states are written again
/// with the next change.
pub(crate) const REPORTS: usize = 1_024;

/// When faults close a gate, and how it opens again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GateRules {
    /// Faults in a row.
    pub(crate) quarantine_after: u32,
    /// The pause before the first probe.
    pub(crate) probe_backoff: Duration,
    /// The longest pause.
    pub(crate) max_probe_backoff: Duration,
}

#[derive(Debug, Clone)]
struct Standing {
    state: RunState,
    /// When the next probe may begin, in quarantine.
    probe_at: Instant,
}

/// The gate of one plugin.
pub(crate) struct Gate {
    plugin: PluginId,
    name: String,
    rules: GateRules,
    standing: watch::Sender<Standing>,
    faults_in_row: AtomicU32,
    /// Looked at for every event, where the lock of `standing` would be too dear.
    open: AtomicBool,
    probing: AtomicBool,
    reports: mpsc::Sender<Report>,
    /// Keeps changes of the state in one order.
    change: Mutex<()>,
}

/// Leave to go on.
pub(crate) enum Turn<'a> {
    /// As usual.
    Free,
    /// With one event, to see whether the plugin works again. As long as it is held, no other lane tries.
    Probe(#[allow(dead_code)] Probe<'a>),
}

/// One lane has it at a time.
pub(crate) struct Probe<'a>(&'a Gate);

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.probing.store(false, Ordering::Release);
        // Others may be waiting for it.
        self.0.standing.send_modify(|_| {});
    }
}

impl Gate {
    pub(crate) fn new(
        plugin: PluginId,
        name: &str,
        state: RunState,
        rules: GateRules,
        reports: mpsc::Sender<Report>,
    ) -> Self {
        let open = AtomicBool::new(state == RunState::Active);
        let probes = match &state {
            RunState::Quarantined { probes, .. } => *probes,
            RunState::Active | RunState::Paused { .. } => 0,
        };
        let probe_at = Instant::now() + probe_pause(rules, probes);
        Self {
            plugin,
            name: name.to_owned(),
            rules,
            standing: watch::Sender::new(Standing { state, probe_at }),
            faults_in_row: AtomicU32::new(0),
            open,
            probing: AtomicBool::new(false),
            reports,
            change: Mutex::default(),
        }
    }

    /// Whether lanes may stand at the head.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn state(&self) -> RunState {
        self.standing.borrow().state.clone()
    }

    /// Resolves once the gate is closed.
    pub(crate) async fn closed(&self) {
        let mut standing = self.standing.subscribe();
        // The sender lives as long as self.
        let _ = standing
            .wait_for(|standing| standing.state != RunState::Active)
            .await;
    }

    /// Waits until a lane may go on.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        let mut changes = self.standing.subscribe();
        loop {
            let standing = changes.borrow_and_update().clone();
            let probe_at = match standing.state {
                RunState::Active => return Turn::Free,
                RunState::Quarantined { .. } => Some(standing.probe_at),
                RunState::Paused { .. } => None,
            };
            let due = probe_at.is_some_and(|at| at <= Instant::now());
            if due && !self.probing.swap(true, Ordering::AcqRel) {
                return Turn::Probe(Probe(self));
            }
            tokio::select! {
                // The sender lives as long as self.
                _ = changes.changed() => {}
                () = until(probe_at.filter(|_| !due)) => {}
            }
        }
    }

    /// The operator's wish, which stands in the store already.
    pub(crate) fn set(&self, state: RunState) {
        let _order = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        self.faults_in_row.store(0, Ordering::Release);
        self.put(state, Duration::ZERO);
    }

    /// A call has failed.
    pub(crate) fn fault(&self, reason: &str) {
        let faults = self
            .faults_in_row
            .fetch_add(1, Ordering::AcqRel)
            .saturating_add(1);
        if self.is_open() && faults < self.rules.quarantine_after {
            return;
        }
        let _order = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let state = match self.state() {
            RunState::Active if faults >= self.rules.quarantine_after => RunState::Quarantined {
                since_ms: now_ms(),
                reason: format!(
                    "{} in a row; the last one: {reason}",
                    counted(faults, "fault")
                ),
                probes: 0,
            },
            RunState::Quarantined {
                since_ms,
                reason: first,
                probes,
            } if self.probing.load(Ordering::Acquire) => {
                tracing::warn!(
                    plugin = self.name,
                    probe = probes + 1,
                    "a probe of a quarantined plugin failed: {reason}"
                );
                RunState::Quarantined {
                    since_ms,
                    reason: first,
                    probes: probes + 1,
                }
            }
            RunState::Active | RunState::Paused { .. } | RunState::Quarantined { .. } => return,
        };
        let probes = match &state {
            RunState::Quarantined { probes, reason, .. } => {
                if *probes == 0 {
                    metrics::counter!("carillon_plugin_quarantines_total", "plugin" => self.name.clone())
                        .increment(1);
                    tracing::error!(
                        plugin = self.name,
                        "a plugin is quarantined: {reason}; its lanes keep their places and it is probed from time to time; load a mended version, roll back, or resume it"
                    );
                }
                *probes
            }
            RunState::Active | RunState::Paused { .. } => 0,
        };
        self.put(state, probe_pause(self.rules, probes));
        self.report();
    }

    /// A call has succeeded.
    pub(crate) fn healthy(&self) {
        if self.faults_in_row.load(Ordering::Relaxed) != 0 {
            self.faults_in_row.store(0, Ordering::Release);
        }
        if self.is_open() {
            return;
        }
        let _order = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(self.state(), RunState::Quarantined { .. }) {
            tracing::info!(
                plugin = self.name,
                "a quarantined plugin works again; its lanes go on"
            );
            self.put(RunState::Active, Duration::ZERO);
            self.report();
        }
    }

    fn put(&self, state: RunState, pause: Duration) {
        self.open
            .store(state == RunState::Active, Ordering::Release);
        self.standing.send_replace(Standing {
            state,
            probe_at: Instant::now() + pause,
        });
    }

    fn report(&self) {
        let report = Report::Changed {
            plugin: self.plugin,
        };
        if self.reports.try_send(report).is_err() {
            tracing::warn!(
                plugin = self.name,
                "the change of a plugin's run state could not be written down"
            );
        }
    }
}

fn probe_pause(rules: GateRules, probes: u32) -> Duration {
    pause(
        probes.saturating_add(1),
        rules.probe_backoff,
        rules.max_probe_backoff,
    )
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    const RULES: GateRules = GateRules {
        quarantine_after: 3,
        probe_backoff: Duration::from_millis(20),
        max_probe_backoff: Duration::from_secs(60),
    };

    fn gate(state: RunState) -> (Arc<Gate>, mpsc::Receiver<Report>) {
        let (reports, receiver) = mpsc::channel(8);
        let gate = Gate::new(PluginId(1), "test", state, RULES, reports);
        (Arc::new(gate), receiver)
    }

    #[tokio::test]
    async fn faults_in_a_row_close_the_gate_and_a_healthy_call_between_them_does_not() {
        let (gate, mut reports) = gate(RunState::Active);
        gate.fault("a");
        gate.fault("b");
        gate.healthy();
        gate.fault("c");
        gate.fault("d");
        assert!(gate.is_open());
        gate.fault("e");
        assert!(!gate.is_open());
        assert!(matches!(
            reports.try_recv().unwrap(),
            Report::Changed { .. }
        ));
        let RunState::Quarantined { reason, .. } = gate.state() else {
            panic!("{:?}", gate.state());
        };
        assert!(
            reason.contains("3 faults in a row") && reason.ends_with('e'),
            "{reason}"
        );
    }

    #[tokio::test]
    async fn one_lane_probes_after_a_pause_that_grows_and_success_opens_the_gate() {
        let (gate, _reports) = gate(RunState::Active);
        let mut began = Instant::now();
        (0..3).for_each(|_| gate.fault("x"));
        for round in 0..3 {
            let Turn::Probe(probe) = gate.turn().await else {
                panic!("a free turn in quarantine");
            };
            // A fifth less than what doubles, at the least.
            let least = Duration::from_millis(16 << round);
            assert!(began.elapsed() >= least, "{:?}", began.elapsed());
            let other = tokio::time::timeout(Duration::from_millis(50), gate.turn()).await;
            assert!(other.is_err(), "two lanes probe at a time");
            began = Instant::now();
            gate.fault("still");
            drop(probe);
        }
        let Turn::Probe(_probe) = gate.turn().await else {
            panic!("a free turn in quarantine");
        };
        gate.healthy();
        assert!(gate.is_open());
        assert!(matches!(gate.turn().await, Turn::Free));
    }

    #[tokio::test]
    async fn a_paused_plugin_waits_for_the_operator_whatever_time_it_takes() {
        let (gate, _reports) = gate(RunState::Paused { since_ms: 0 });
        assert!(
            tokio::time::timeout(Duration::from_millis(100), gate.turn())
                .await
                .is_err()
        );
        gate.healthy();
        assert!(!gate.is_open(), "a call that still ran does not resume it");
        gate.set(RunState::Active);
        assert!(matches!(gate.turn().await, Turn::Free));
    }
}
