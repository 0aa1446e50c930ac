//! What an instance's system consists of.

use std::collections::BTreeMap;

use wasmtime::Result;
use wasmtime::component::Resource;

use super::clocks::Pollable;
use super::random::Random;
use crate::guest::Guest;
use crate::model::Fault;

/// How many handles an instance may hold at once: the host pays for each.
const MAX_HANDLES: u32 = 1_024;

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
    /// Handles of anything but pollables.
    other_handles: u32,
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
    }
}

impl Guest {
    /// A handle on the one thing that there is of its kind.
    pub(super) fn handle<T: 'static>(&mut self, number: u32) -> Result<Resource<T>> {
        self.free_number()?;
        self.system.other_handles += 1;
        Ok(Resource::new_own(number))
    }

    pub(super) fn handle_dropped(&mut self) {
        self.system.other_handles = self.system.other_handles.saturating_sub(1);
    }

    /// Something that is ready at a time.
    pub(super) fn pollable(&mut self, ready_at_ns: u64) -> Result<Resource<Pollable>> {
        let number = self.free_number()?;
        self.system.ready_at_ns.insert(number, ready_at_ns);
        Ok(Resource::new_own(number))
    }

    pub(super) fn pollable_dropped(&mut self, number: u32) {
        self.system.ready_at_ns.remove(&number);
    }

    /// A number that no pollable has, as long as the guest may hold one more handle.
    fn free_number(&mut self) -> Result<u32> {
        let taken = &self.system.ready_at_ns;
        let may_hold = (MAX_HANDLES - self.system.other_handles) as usize;
        (0..MAX_HANDLES)
            .find(|number| !taken.contains_key(number))
            .filter(|_| taken.len() < may_hold)
            .ok_or_else(|| {
                self.ended(format!(
                    "it holds {MAX_HANDLES} handles of its system and asked for one more; drop those that are not used"
                ))
            })
    }

    /// The trap that ends the call, with the reason for the operator.
    pub(super) fn ended(&mut self, reason: String) -> wasmtime::Error {
        let error = wasmtime::Error::msg(reason.clone());
        self.fault = Some(Fault::Trap(reason));
        error
    }
}
