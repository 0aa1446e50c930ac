//! Time, and waiting for it.
//!
//! A guest's clock shows when the event was logged. It stands still while the guest computes, and
//! moves when the guest waits: to the moment that is waited for, at once. So timers go off in their
//! order, a repeated handling sees the same times as the first, and no thread is held.
//!
//! It begins anew with each event, so that an instance that has handled others sees what a new one
//! sees; from one event to the next it may run back. Before the first event it shows 1970.

use wasmtime::Result;
use wasmtime::component::{ComponentType, LinkerInstance, Lower, Resource};

use crate::guest::Guest;

/// Something that can be waited for; its number is looked up in the guest's system.
pub(super) struct Pollable;

#[derive(ComponentType, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

const NS_PER_S: u64 = 1_000_000_000;
/// The event's time is told to the millisecond.
const RESOLUTION_NS: u64 = 1_000_000;

pub(super) fn wall_clock(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    let datetime = |ns: u64| Datetime {
        seconds: ns / NS_PER_S,
        // Less than a second fits.
        nanoseconds: u32::try_from(ns % NS_PER_S).unwrap_or(0),
    };
    instance.func_wrap("now", move |context, ()| {
        Ok((datetime(context.data().system.now_ns),))
    })?;
    instance.func_wrap("resolution", move |_, ()| Ok((datetime(RESOLUTION_NS),)))
}

pub(super) fn monotonic_clock(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    instance.func_wrap("now", |context, ()| Ok((context.data().system.now_ns,)))?;
    instance.func_wrap("resolution", |_, ()| Ok((RESOLUTION_NS,)))?;
    instance.func_wrap("subscribe-instant", |mut context, (at_ns,): (u64,)| {
        Ok((context.data_mut().new_pollable(at_ns)?,))
    })?;
    instance.func_wrap("subscribe-duration", |mut context, (ns,): (u64,)| {
        let at_ns = context.data().system.now_ns.saturating_add(ns);
        Ok((context.data_mut().new_pollable(at_ns)?,))
    })
}

pub(super) fn poll(instance: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    instance.func_wrap(
        "[method]pollable.ready",
        |context, (pollable,): (Resource<Pollable>,)| {
            let guest = context.data();
            Ok((guest.ready_at_ns(&pollable)? <= guest.system.now_ns,))
        },
    )?;
    instance.func_wrap(
        "[method]pollable.block",
        |mut context, (pollable,): (Resource<Pollable>,)| {
            let guest = context.data_mut();
            guest.wait_until(guest.ready_at_ns(&pollable)?);
            Ok(())
        },
    )?;
    instance.func_wrap(
        "poll",
        |mut context, (pollables,): (Vec<Resource<Pollable>>,)| {
            Ok((context.data_mut().poll(&pollables)?,))
        },
    )
}

impl Guest {
    fn ready_at_ns(&self, pollable: &Resource<Pollable>) -> Result<u64> {
        let at_ns = self.system.ready_at_ns.get(&pollable.rep());
        at_ns
            .copied()
            .ok_or_else(|| wasmtime::Error::msg("a pollable that was dropped"))
    }

    fn wait_until(&mut self, at_ns: u64) {
        self.system.now_ns = self.system.now_ns.max(at_ns);
    }

    /// The places of those that are ready, once at least one is.
    fn poll(&mut self, pollables: &[Resource<Pollable>]) -> Result<Vec<u32>> {
        let times: Vec<u64> = pollables
            .iter()
            .map(|pollable| self.ready_at_ns(pollable))
            .collect::<Result<_>>()?;
        let Some(first) = times.iter().min() else {
            return Err(self.end_call("it waits for nothing: `poll` with an empty list"));
        };
        self.wait_until(*first);
        let now_ns = self.system.now_ns;
        Ok((0..)
            .zip(times)
            .filter(|(_, at_ns)| *at_ns <= now_ns)
            .map(|(place, _)| place)
            .collect())
    }
}
