//! What there is to see: plugins, lanes, logs, the audit record.

use std::collections::BTreeMap;

use carillon_sandbox::{HttpGrant, Limits, Plugin, Usage};
use carillon_store::{AuditRecord, RunState};
use tokio::sync::broadcast;

use super::model::{
    LaneStatus, Latency, LimitDetails, LogEntry, OperationError, PluginDetails, PluginSummary,
    SettingDetails,
};
use super::trials::candidate_summary;
use super::{Done, Operations, Slot, unavailable};
use crate::board::Standing;

const STATES: [&str; 4] = ["active", "paused", "quarantined", "missing"];
/// The most rows of one answer.
const MOST_ROWS: u32 = 1_000;

impl Operations {
    /// What is installed, by name.
    #[must_use]
    pub fn list(&self) -> Vec<PluginSummary> {
        let slots: Vec<Slot> = self.slots().values().cloned().collect();
        let ids: Vec<_> = slots.iter().map(|slot| slot.install.plugin).collect();
        let lags = self.parts.board.lags(&ids);
        slots
            .iter()
            .map(|slot| summary(slot, lags.get(&slot.install.plugin).copied().unwrap_or(0)))
            .collect()
    }

    pub(super) fn summary(&self, name: &str) -> Done<PluginSummary> {
        let slot = self.slot(name)?;
        let id = slot.install.plugin;
        let lag = self.parts.board.lags(&[id]).get(&id).copied().unwrap_or(0);
        Ok(summary(&slot, lag))
    }

    /// Everything about a plugin.
    ///
    /// # Errors
    /// When there is no such plugin, or the store fails.
    pub async fn show(&self, name: &str) -> Done<PluginDetails> {
        let slot = self.slot(name)?;
        let id = slot.install.plugin;
        let state_bytes = self
            .parts
            .store
            .state_bytes(id)
            .await
            .map_err(unavailable)?;
        let load = &slot.install.load;
        let plugin = slot.plugin.as_ref().ok();
        Ok(PluginDetails {
            plugin: self.summary(name)?,
            subscriptions: plugin.map_or_else(Vec::new, |plugin| {
                let all = &plugin.description().subscriptions;
                all.iter().map(ToString::to_string).collect()
            }),
            load: load.id.0,
            loaded_ms: load.at_ms,
            loaded_by: load.who.clone(),
            origin: load.origin.clone(),
            state_version: load.state_version,
            state_bytes,
            asked: plugin.map_or_else(Vec::new, |plugin| plugin.asked().to_vec()),
            granted: plugin.map_or_else(BTreeMap::new, granted),
            settings: plugin.map_or_else(Vec::new, |plugin| self.settings(&slot, plugin)),
            limits: plugin.map_or_else(Vec::new, |plugin| {
                let (used, mut all) = (plugin.highest(), Vec::new());
                all.extend(limits(plugin.limits(), &used, state_bytes));
                if plugin.imports_http() {
                    all.extend(egress_limits(&plugin.grants().http, &used));
                }
                all
            }),
            latency: slot.shared.stats.latency(),
            lanes: self
                .lanes()
                .into_iter()
                .filter(|lane| lane.plugin == name)
                .collect(),
        })
    }

    fn settings(&self, slot: &Slot, plugin: &Plugin) -> Vec<SettingDetails> {
        let configured = self.config_of(&slot.install.name).settings;
        let overrides = &slot.install.load.settings;
        plugin
            .description()
            .settings
            .iter()
            .map(|setting| {
                let key = &setting.key;
                let found = [
                    ("operator", overrides.get(key)),
                    ("configuration", configured.get(key)),
                    ("default", setting.default.as_ref()),
                ]
                .into_iter()
                .find_map(|(source, value)| Some((source, value?.clone())));
                SettingDetails {
                    key: key.clone(),
                    summary: setting.summary.clone(),
                    source: found
                        .as_ref()
                        .map_or("none", |(source, _)| source)
                        .to_owned(),
                    value: found.map(|(_, value)| value),
                }
            })
            .collect()
    }

    /// Where every lane of this host stands.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneStatus> {
        let loaded = self.parts.table.loaded();
        let slots = self.slots().clone();
        let mut lanes = Vec::new();
        for (partition, standing) in self.parts.board.look() {
            let mut all: Vec<_> = loaded
                .handlers
                .values()
                .map(|handler| {
                    (
                        handler.id,
                        handler.name.to_string(),
                        handler.plugin.gate.state(),
                    )
                })
                .collect();
            // Installed, and not running.
            all.extend(
                slots
                    .values()
                    .filter(|slot| slot.plugin.is_err())
                    .map(|slot| {
                        let name = slot.install.name.to_string();
                        (slot.install.plugin, name, slot.install.run_state.clone())
                    }),
            );
            all.sort_by(|(_, a, _), (_, b, _)| a.cmp(b));
            for (id, name, state) in all {
                lanes.push(lane(&partition, &standing, id, name, &state));
            }
        }
        lanes
    }

    /// The last lines of a plugin's log, and those to come.
    ///
    /// # Errors
    /// When there is no such plugin.
    pub fn logs(
        &self,
        name: &str,
        tail: usize,
    ) -> Done<(Vec<LogEntry>, broadcast::Receiver<LogEntry>)> {
        Ok(self.slot(name)?.shared.book.follow(tail))
    }

    /// What operators did, newest first; of one plugin, or of all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn audit(
        &self,
        plugin: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, OperationError> {
        self.parts
            .store
            .audit_records(plugin, before, limit.clamp(1, MOST_ROWS))
            .await
            .map_err(unavailable)
    }

    /// Sets the gauges of every plugin.
    pub(crate) fn measure(&self) {
        for plugin in self.list() {
            let gauge = |name: &'static str| metrics::gauge!(name, "plugin" => plugin.name.clone());
            gauge("carillon_plugin_lag_records").set(plugin.lag as f64);
            gauge("carillon_plugin_memory_bytes").set(plugin.memory_bytes as f64);
            gauge("carillon_plugin_p99_seconds").set(plugin.p99_ms / 1_000.0);
            for state in STATES {
                let value = f64::from(u8::from(plugin.state == state));
                metrics::gauge!("carillon_plugin_state", "plugin" => plugin.name.clone(), "state" => state)
                    .set(value);
            }
        }
    }
}

/// A plugin that is gone is in no state, and lags behind nothing.
impl Operations {
    pub(super) fn unmeasure(&self, name: &str) {
        let gauge = |metric: &'static str| metrics::gauge!(metric, "plugin" => name.to_owned());
        for metric in [
            "carillon_plugin_lag_records",
            "carillon_plugin_memory_bytes",
            "carillon_plugin_p99_seconds",
        ] {
            gauge(metric).set(0.0);
        }
        for state in STATES {
            metrics::gauge!("carillon_plugin_state", "plugin" => name.to_owned(), "state" => state)
                .set(0.0);
        }
    }
}

fn summary(slot: &Slot, lag: u64) -> PluginSummary {
    let counts = slot.shared.stats.counts();
    let Latency { p99_ms, .. } = slot.shared.stats.latency();
    let plugin = slot.plugin.as_ref().ok();
    let (state, reason, since_ms) = match (&slot.plugin, slot.shared.gate.state()) {
        (Err(reason), _) => ("missing", Some(reason.clone()), None),
        (Ok(_), RunState::Active) => ("active", None, None),
        (Ok(_), RunState::Paused { since_ms }) => ("paused", None, Some(since_ms)),
        (
            Ok(_),
            RunState::Quarantined {
                since_ms,
                reason,
                probes,
            },
        ) => (
            "quarantined",
            Some(format!("{reason}; {probes} probes failed since")),
            Some(since_ms),
        ),
    };
    PluginSummary {
        name: slot.install.name.to_string(),
        version: slot.install.load.version.clone(),
        sha256: slot.install.load.sha256.clone(),
        summary: plugin.map_or_else(String::new, |plugin| plugin.description().summary.clone()),
        state: state.to_owned(),
        reason,
        since_ms,
        candidate: slot.candidate.as_ref().map(candidate_summary),
        lag,
        events_per_s: slot.shared.stats.per_second(),
        handled: counts.handled,
        faults: counts.faults,
        dead_letters: counts.dead_letters,
        p99_ms,
        memory_bytes: plugin.map_or(0, Plugin::memory_bytes) as u64,
    }
}

fn lane(
    partition: &carillon_bus::PartitionId,
    standing: &Standing,
    id: carillon_store::PluginId,
    plugin: String,
    state: &RunState,
) -> LaneStatus {
    let away = standing.away.get(&id);
    let cursor = away.map_or(standing.head, |lane| lane.cursor);
    let waits = match (away, state) {
        (Some(lane), _) if lane.stopped.is_some() => lane.stopped.clone(),
        (_, RunState::Paused { .. }) => Some("it is paused".to_owned()),
        (_, RunState::Quarantined { reason, .. }) => Some(format!("quarantined: {reason}")),
        (Some(lane), RunState::Active) => lane
            .retry
            .as_ref()
            .map(|(attempts, error)| format!("attempt {attempts} failed: {error}")),
        (None, RunState::Active) => None,
    };
    LaneStatus {
        plugin,
        topic: partition.topic.to_string(),
        partition: partition.partition,
        cursor,
        end: standing.end,
        lag: standing.end.saturating_sub(cursor).max(0).unsigned_abs(),
        place: if away.is_some() { "own" } else { "head" }.to_owned(),
        waits,
    }
}

fn granted(plugin: &Plugin) -> BTreeMap<String, Vec<String>> {
    let limits = plugin.limits();
    let asked = |interface: &str| plugin.examined().imports(interface);
    let mut granted = BTreeMap::new();
    if asked("log") {
        granted.insert(
            "log".to_owned(),
            vec![format!(
                "{} lines an event of {} bytes, {} lines a second",
                limits.log_lines, limits.log_line_bytes, limits.log_lines_per_s
            )],
        );
    }
    if asked("settings") {
        granted.insert("settings".to_owned(), vec!["its own".to_owned()]);
    }
    if asked("state") {
        granted.insert(
            "state".to_owned(),
            vec![format!(
                "{} bytes in all, {} bytes a value",
                limits.state_total_bytes, limits.state_value_bytes
            )],
        );
    }
    if asked("http") {
        granted.insert("http".to_owned(), egress(&plugin.grants().http));
    }
    if plugin.examined().imports_wasi() {
        granted.insert(
            "wasi".to_owned(),
            vec!["an empty system: no files, no sockets, no environment".to_owned()],
        );
    }
    granted
}

fn egress(grant: &HttpGrant) -> Vec<String> {
    let mut words: Vec<String> = grant.allow.iter().map(ToString::to_string).collect();
    words.extend(
        grant
            .addresses
            .iter()
            .map(|network| format!("private addresses in {network}")),
    );
    words.extend(
        grant
            .secrets
            .keys()
            .map(|name| format!("the secret {name}")),
    );
    words.push(format!(
        "{} requests of an event, {} ms each and {} ms in all, {} bytes out and {} bytes in",
        grant.max_requests,
        grant.timeout_ms,
        grant.budget_ms,
        grant.max_request_bytes,
        grant.max_response_bytes
    ));
    words
}

fn egress_limits(grant: &HttpGrant, used: &Usage) -> [LimitDetails; 2] {
    [
        LimitDetails {
            limit: "http.max_requests".to_owned(),
            granted: u64::from(grant.max_requests),
            highest: Some(used.http_requests),
        },
        LimitDetails {
            limit: "http.budget_ms".to_owned(),
            granted: grant.budget_ms,
            highest: Some(used.http_ms),
        },
    ]
}

fn limits(limits: &Limits, highest: &Usage, state_bytes: u64) -> Vec<LimitDetails> {
    let row = |limit: &str, granted: u64, highest: Option<u64>| LimitDetails {
        limit: limit.to_owned(),
        granted,
        highest,
    };
    vec![
        row(
            "cpu_ms",
            limits.cpu_ms,
            Some(highest.cpu_us.div_ceil(1_000)),
        ),
        row(
            "wall_ms",
            limits.wall_ms,
            Some(highest.wall_us.div_ceil(1_000)),
        ),
        row(
            "memory_bytes",
            limits.memory_bytes as u64,
            Some(highest.memory_bytes),
        ),
        row(
            "table_elements",
            limits.table_elements as u64,
            Some(highest.table_elements),
        ),
        row("actions", limits.actions as u64, Some(highest.actions)),
        row(
            "output_bytes",
            limits.output_bytes as u64,
            Some(highest.output_bytes),
        ),
        row(
            "log_lines",
            u64::from(limits.log_lines),
            Some(highest.log_lines),
        ),
        row("log_lines_per_s", u64::from(limits.log_lines_per_s), None),
        row(
            "state_calls",
            u64::from(limits.state_calls),
            Some(highest.state_calls),
        ),
        row(
            "state_bytes",
            limits.state_bytes as u64,
            Some(highest.state_bytes),
        ),
        row(
            "state_value_bytes",
            limits.state_value_bytes as u64,
            Some(highest.state_value_bytes),
        ),
        row(
            "state_total_bytes",
            limits.state_total_bytes as u64,
            Some(state_bytes),
        ),
        row("calls_per_instance", limits.calls_per_instance, None),
    ]
}
