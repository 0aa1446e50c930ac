//! What an instance carries on the host's side.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::{ResourceLimiter, Result};

use crate::budget::Budget;
use crate::limits::Limits;
use crate::model::Fault;
use crate::state::{NoState, State};

/// The data of one wasmtime store.
pub(crate) struct Guest {
    pub(crate) plugin: Arc<str>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) settings: Arc<HashMap<String, String>>,
    pub(crate) state: Box<dyn State>,
    pub(crate) budget: Budget,
    pub(crate) log_lines: u32,
    pub(crate) log_lines_dropped: u32,
    /// What the guest last complained about; a panic writes its message there.
    pub(crate) last_error: Option<String>,
    pub(crate) state_calls: u32,
    pub(crate) state_bytes: usize,
    /// All its linear memories together.
    pub(crate) memory_bytes: usize,
    /// The event at hand, for log lines.
    pub(crate) event_id: String,
    /// During `describe` nothing but `log` works.
    pub(crate) describing: bool,
    /// Why the host ended or hindered the call; tells more than the trap that follows.
    pub(crate) fault: Option<Fault>,
}

impl Guest {
    pub(crate) fn new(
        plugin: Arc<str>,
        limits: Arc<Limits>,
        settings: Arc<HashMap<String, String>>,
    ) -> Self {
        Self {
            plugin,
            settings,
            state: Box::new(NoState),
            budget: Budget::new(limits.cpu_ms, limits.wall_ms),
            limits,
            log_lines: 0,
            log_lines_dropped: 0,
            last_error: None,
            state_calls: 0,
            state_bytes: 0,
            memory_bytes: 0,
            event_id: String::new(),
            describing: false,
            fault: None,
        }
    }

    /// Makes ready for a call.
    pub(crate) fn begin(&mut self, event_id: &str, state: Box<dyn State>) {
        self.state = state;
        self.budget = Budget::new(self.limits.cpu_ms, self.limits.wall_ms);
        self.log_lines = 0;
        self.log_lines_dropped = 0;
        self.last_error = None;
        self.state_calls = 0;
        self.state_bytes = 0;
        self.event_id.clear();
        self.event_id.push_str(event_id);
        self.fault = None;
    }

    /// Takes the state back after a call, and reports what the log limit swallowed.
    pub(crate) fn end(&mut self) -> Box<dyn State> {
        if self.log_lines_dropped > 0 {
            metrics::counter!("carillon_plugin_log_lines_dropped_total", "plugin" => self.plugin.to_string())
                .increment(u64::from(self.log_lines_dropped));
            tracing::warn!(
                plugin = %self.plugin,
                event = %self.event_id,
                dropped = self.log_lines_dropped,
                limit = self.limits.log_lines,
                "the plugin wrote more log lines than its limit"
            );
        }
        std::mem::replace(&mut self.state, Box::new(NoState))
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            // It fails by the guest's own declaration; what is counted is never uncounted.
            return Ok(true);
        }
        let total = self
            .memory_bytes
            .saturating_add(desired.saturating_sub(current));
        if total <= self.limits.memory_bytes {
            self.memory_bytes = total;
            return Ok(true);
        }
        self.fault = Some(Fault::Memory {
            limit_bytes: self.limits.memory_bytes,
        });
        Ok(false)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        if desired <= self.limits.table_elements {
            return Ok(true);
        }
        self.fault = Some(Fault::Table {
            limit_elements: self.limits.table_elements,
        });
        Ok(false)
    }
}
