//! What an instance's system consists of.

use std::collections::BTreeMap;

use wasmtime::Result;
use wasmtime::component::Resource;

use super::clocks::Pollable;
use super::random::Random;
use crate::guest::Guest;
use crate::imports::one_line;
use crate::model::Fault;

/// How many handles a guest may take during one event and hold: the host pays for each.
const MAX_HANDLES: usize = 1_024;
/// How many an instance may keep from event to event. One that holds more is not used again: what
/// it leaks, little by little, is no fault of the event at hand.
const MAX_KEPT_HANDLES: usize = MAX_HANDLES / 2;

/// The system of one instance. What it holds beside handles begins anew with each event, so that
/// an instance that has seen other events before answers as a new one does.
#[derive(Default)]
pub(crate) struct System {
    /// Nanoseconds since 1970 began: when the event was logged, and what the guest has waited since.
    pub(super) now_ns: u64,
    /// Made when first asked for.
    pub(super) random: Option<Random>,
    /// When each pollable is ready; by its number.
    pub(super) ready_at_ns: BTreeMap<u32, u64>,
    /// How many handles the guest holds, of any kind.
    handles: usize,
    /// How many of them it held before the event at hand.
    handles_before: usize,
    /// What was printed after the last line break.
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl System {
    /// Makes ready for an event.
    pub(crate) fn begin(&mut self, logged_at_ms: i64) {
        // A time before 1970 is none that this clock can show.
        self.now_ns = u64::try_from(logged_at_ms)
            .unwrap_or(0)
            .saturating_mul(1_000_000);
        self.random = None;
        self.handles_before = self.handles;
    }

    /// Whether the instance may handle another event.
    pub(crate) fn is_reusable(&self) -> bool {
        self.handles <= MAX_KEPT_HANDLES
    }
}

impl Guest {
    /// A handle on the one thing that there is of its kind.
    pub(super) fn new_handle<T: 'static>(&mut self, number: u32) -> Result<Resource<T>> {
        self.count_handle()?;
        Ok(Resource::new_own(number))
    }

    /// Something that is ready at a time.
    pub(super) fn new_pollable(&mut self, ready_at_ns: u64) -> Result<Resource<Pollable>> {
        self.count_handle()?;
        let pollables = &mut self.system.ready_at_ns;
        let number = (0..)
            .find(|number| !pollables.contains_key(number))
            .ok_or_else(|| wasmtime::Error::msg("more pollables than numbers"))?;
        pollables.insert(number, ready_at_ns);
        Ok(Resource::new_own(number))
    }

    /// A guest drops what it was given, and nothing else.
    pub(super) fn handle_dropped(&mut self) {
        self.system.handles = self.system.handles.saturating_sub(1);
    }

    pub(super) fn pollable_dropped(&mut self, number: u32) {
        self.handle_dropped();
        self.system.ready_at_ns.remove(&number);
    }

    /// The engine has a bound of its own, but does not tell how many a guest holds, and counts what
    /// is lent twice.
    fn count_handle(&mut self) -> Result<()> {
        let System {
            handles,
            handles_before,
            ..
        } = &mut self.system;
        if *handles < *handles_before + MAX_HANDLES {
            *handles += 1;
            return Ok(());
        }
        Err(self.end_call(&format!(
            "it holds {MAX_HANDLES} handles of its system and asked for one more; drop those that are not used"
        )))
    }

    /// The error that ends the call, with the reason for the operator. The guest may have had its
    /// say in the reason, so it is cut like a line of its log.
    pub(super) fn end_call(&mut self, reason: &str) -> wasmtime::Error {
        let reason = one_line(reason, self.limits().log_line_bytes);
        let error = wasmtime::Error::msg(reason.clone());
        self.fault = Some(Fault::Trap(reason));
        error
    }
}
