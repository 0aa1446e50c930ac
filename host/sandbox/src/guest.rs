//! What an instance carries on the host's side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{ResourceLimiter, Result};

use crate::budget::Budget;
use crate::limits::Limits;
use crate::model::{Fault, GuestEvent};
use crate::session::Egress;
use crate::state::{NoState, State};
use crate::tenant::Tenant;
use crate::usage::Usage;
use crate::wasi::System;

/// The data of one wasmtime store.
pub(crate) struct Guest {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) state: Box<dyn State>,
    pub(crate) egress: Egress,
    pub(crate) budget: Budget,
    pub(crate) log_lines: u32,
    pub(crate) log_lines_dropped: u32,
    /// What the guest last complained about; a panic writes its message there.
    pub(crate) last_error: Option<String>,
    pub(crate) state_calls: u32,
    pub(crate) state_bytes: usize,
    pub(crate) state_value_bytes: usize,
    pub(crate) http_requests: u32,
    pub(crate) http_time: Duration,
    /// The most that one call of the host, or the answer, lifted.
    pub(crate) output_bytes: usize,
    pub(crate) actions: usize,
    /// All its linear memories together.
    pub(crate) memory_bytes: usize,
    /// Its largest table.
    table_elements: usize,
    /// The event at hand, for log lines.
    pub(crate) event_id: String,
    /// Empty: it has none.
    pub(crate) correlation_id: String,
    /// During `describe` nothing but `log` works.
    pub(crate) describing: bool,
    /// For a component that imports WASI.
    pub(crate) system: System,
    /// Why the host ended or hindered the call; tells more than the trap that follows.
    pub(crate) fault: Option<Fault>,
}

impl Guest {
    pub(crate) fn new(tenant: Arc<Tenant>) -> Self {
        Self {
            state: Box::new(NoState),
            egress: Egress::Closed,
            budget: Budget::new(tenant.limits.cpu_ms, tenant.limits.wall_ms),
            tenant,
            log_lines: 0,
            log_lines_dropped: 0,
            last_error: None,
            state_calls: 0,
            state_bytes: 0,
            state_value_bytes: 0,
            http_requests: 0,
            http_time: Duration::ZERO,
            output_bytes: 0,
            actions: 0,
            memory_bytes: 0,
            table_elements: 0,
            event_id: String::new(),
            correlation_id: String::new(),
            describing: false,
            system: System::default(),
            fault: None,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.tenant.limits
    }

    /// Makes ready for a call.
    pub(crate) fn begin(&mut self, event: &GuestEvent<'_>, state: Box<dyn State>, egress: Egress) {
        self.state = state;
        self.egress = egress;
        self.budget = Budget::new(self.tenant.limits.cpu_ms, self.tenant.limits.wall_ms);
        self.log_lines = 0;
        self.log_lines_dropped = 0;
        self.last_error = None;
        self.state_calls = 0;
        self.state_bytes = 0;
        self.state_value_bytes = 0;
        self.http_requests = 0;
        self.http_time = Duration::ZERO;
        self.output_bytes = 0;
        self.actions = 0;
        self.event_id.clear();
        self.event_id.push_str(event.id);
        self.correlation_id.clear();
        self.correlation_id
            .push_str(event.correlation_id.unwrap_or_default());
        self.system.begin(event.logged_at_ms);
        self.fault = None;
    }

    /// Takes the state back after a call that took this long, notes what it used, and reports what
    /// the log limit swallowed.
    pub(crate) fn end(&mut self, took: Duration) -> Box<dyn State> {
        self.end_lines();
        self.tenant.highest.record(&self.used(took));
        if self.log_lines_dropped > 0 {
            self.report_dropped_lines();
        }
        std::mem::replace(&mut self.state, Box::new(NoState))
    }

    fn used(&self, took: Duration) -> Usage {
        let (cpu_us, wall_us) = self.budget.used_us(took);
        Usage {
            cpu_us,
            wall_us,
            memory_bytes: self.memory_bytes as u64,
            table_elements: self.table_elements as u64,
            actions: self.actions as u64,
            output_bytes: self.output_bytes as u64,
            log_lines: u64::from(self.log_lines) + u64::from(self.log_lines_dropped),
            state_calls: u64::from(self.state_calls),
            state_bytes: self.state_bytes as u64,
            state_value_bytes: self.state_value_bytes as u64,
            http_requests: u64::from(self.http_requests),
            http_ms: u64::try_from(self.http_time.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// A reason, with what the guest last complained about.
    pub(crate) fn with_last_error(&mut self, reason: String) -> String {
        match self.last_error.take() {
            Some(line) => format!("{reason}; its last error line was: {line}"),
            None => reason,
        }
    }

    /// A call of the host lifted this much out of the guest.
    pub(crate) fn lifted(&mut self, bytes: usize) {
        self.output_bytes = self.output_bytes.max(bytes);
    }

    /// The guest waited for `http`, which has a budget of its own.
    pub(crate) fn waited_for_http(&mut self, waited: Duration) {
        self.http_time += waited;
        self.budget.excuse(waited);
    }

    fn report_dropped_lines(&self) {
        metrics::counter!("carillon_plugin_log_lines_dropped_total", "plugin" => self.tenant.name.to_string())
            .increment(u64::from(self.log_lines_dropped));
        let quota = &self.tenant.log_quota;
        if let Some(dropped) = quota.dropped(self.log_lines_dropped, Instant::now()) {
            tracing::warn!(
                plugin = %self.tenant.name,
                event = %self.event_id,
                dropped,
                limit = self.limits().log_lines,
                limit_per_s = self.limits().log_lines_per_s,
                "the plugin writes more log lines than its limits"
            );
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.tenant.memory_given_back(self.memory_bytes);
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
        let more = desired.saturating_sub(current);
        let total = self.memory_bytes.saturating_add(more);
        if total <= self.limits().memory_bytes {
            self.memory_bytes = total;
            self.tenant.memory_taken(more);
            return Ok(true);
        }
        self.fault = Some(Fault::Memory {
            limit_bytes: self.limits().memory_bytes,
        });
        Ok(false)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        if desired <= self.limits().table_elements {
            self.table_elements = self.table_elements.max(desired);
            return Ok(true);
        }
        self.fault = Some(Fault::Table {
            limit_elements: self.limits().table_elements,
        });
        Ok(false)
    }
}
