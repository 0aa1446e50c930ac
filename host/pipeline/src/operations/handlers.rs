//! What lanes run of an installed plugin: handlers are made, put in place and drained.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use carillon_sandbox::Plugin;
use carillon_store::{PluginId, RunState};
use tokio::runtime::Handle;

use super::{Operations, Slot, Trying};
use crate::gate::{Gate, GateRules};
use crate::handler::{Activity, Canary, Code, Counters, FaultRule, Handler, PluginShared, Role};
use crate::log_book::LogBook;
use crate::state_space::StateSpace;
use crate::stats::Stats;
use crate::table::Replaced;

/// How often is looked whether the old version's last calls are done.
const DRAIN_LOOK: Duration = Duration::from_millis(2);

impl Operations {
    /// What the versions of a plugin share; made with the run state that is given.
    pub(super) fn shared(&self, id: PluginId, name: &str, state: RunState) -> Arc<PluginShared> {
        let mut all = self
            .inner
            .shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = all.get(name) {
            return Arc::clone(shared);
        }
        let shared = Arc::new(PluginShared {
            gate: self.gate(id, name, state),
            stats: Arc::new(Stats::default()),
            counters: Counters::new(name),
            book: Arc::new(LogBook::default()),
        });
        all.insert(name.to_owned(), Arc::clone(&shared));
        shared
    }

    fn gate(&self, id: PluginId, name: &str, state: RunState) -> Gate {
        let config = &self.parts.config;
        let rules = GateRules {
            quarantine_after: config.quarantine_after.max(1),
            probe_backoff: Duration::from_millis(config.probe_backoff_ms.max(1)),
            max_probe_backoff: Duration::from_millis(config.max_probe_backoff_ms.max(1)),
        };
        Gate::new(id, name, state, rules, self.parts.reports.clone())
    }

    fn space(&self, id: PluginId, plugin: &Plugin) -> Option<Arc<StateSpace>> {
        if !plugin.imports_state() {
            return None;
        }
        let mut spaces = self
            .inner
            .spaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let space = spaces.entry(id).or_insert_with(|| {
            Arc::new(StateSpace::new(
                id,
                self.parts.store.clone(),
                Handle::current(),
                self.parts.config.state_cache_bytes,
                Arc::clone(&self.parts.voided),
            ))
        });
        space.set_quota_bytes(plugin.limits().state_total_bytes as u64);
        Some(Arc::clone(space))
    }

    pub(super) fn forget_space(&self, id: PluginId) {
        self.inner
            .spaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }

    /// Lets lanes run what a slot holds; answers what gave way.
    pub(super) fn put(&self, slot: &Slot) -> Replaced {
        let Ok(plugin) = &slot.plugin else {
            return self.parts.table.remove(slot.install.plugin);
        };
        let rule = |trying: &Trying| FaultRule {
            trial: trying.candidate.trial,
            plugin: slot.install.plugin,
            limit: trying.faults,
            faults: std::sync::atomic::AtomicU32::new(0),
            reports: self.parts.reports.clone(),
        };
        let mut handlers = Vec::new();
        let role = match &slot.candidate {
            None => Role::Active,
            Some(trying) => match trying.candidate.mode {
                carillon_store::TrialMode::Shadow => {
                    let name = format!("{}@shadow", slot.install.name);
                    // Its gate never closes; what is said about it stands with the plugin.
                    let shared = Arc::new(PluginShared {
                        gate: self.gate(trying.candidate.plugin, &name, RunState::Active),
                        stats: Arc::clone(&trying.stats),
                        counters: Counters::new(&name),
                        book: Arc::clone(&slot.shared.book),
                    });
                    handlers.push(Handler {
                        id: trying.candidate.plugin,
                        name: name.into(),
                        version: trying.candidate.load.version_id,
                        label: trying.candidate.load.version.as_str().into(),
                        subscriptions: trying.plugin.description().subscriptions.clone(),
                        code: Code::Sandboxed(trying.plugin.clone()),
                        state: self.space(trying.candidate.plugin, &trying.plugin),
                        role: Role::Shadow(Arc::new(rule(trying))),
                        not_before_ms: slot.not_before_ms,
                        plugin: shared,
                        activity: Activity::default(),
                    });
                    Role::Compared(trying.candidate.trial)
                }
                carillon_store::TrialMode::Canary { percent } => Role::Shared(Arc::new(Canary {
                    plugin: trying.plugin.clone(),
                    version: trying.candidate.load.version_id,
                    label: trying.candidate.load.version.as_str().into(),
                    subscriptions: trying.plugin.description().subscriptions.clone(),
                    percent,
                    stats: Arc::clone(&trying.stats),
                    rule: rule(trying),
                })),
            },
        };
        // A canary's calls touch the same state: it takes part in the order if either asks.
        let state = match (&role, self.space(slot.install.plugin, plugin)) {
            (Role::Shared(canary), None) => self.space(slot.install.plugin, &canary.plugin),
            (_, space) => space,
        };
        handlers.push(Handler {
            id: slot.install.plugin,
            name: Arc::clone(&slot.install.name),
            version: slot.install.load.version_id,
            label: slot.install.load.version.as_str().into(),
            subscriptions: plugin.description().subscriptions.clone(),
            code: Code::Sandboxed(plugin.clone()),
            state,
            role,
            not_before_ms: slot.not_before_ms,
            plugin: Arc::clone(&slot.shared),
            activity: Activity::default(),
        });
        self.parts.table.put(handlers)
    }

    /// Waits until no call of an old version runs any more, within a bound; answers how long that
    /// took.
    pub(super) async fn drain(&self, old: &Replaced, notes: &mut Vec<String>) -> Duration {
        let began = Instant::now();
        let bound = Duration::from_millis(self.parts.config.drain_ms);
        while !old.is_done() {
            if began.elapsed() > bound {
                notes.push(format!(
                    "calls of the old version are still under way after {} ms; they end at their own limits",
                    bound.as_millis()
                ));
                break;
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
        began.elapsed()
    }
}
