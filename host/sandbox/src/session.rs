//! Calls into a plugin.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use crate::answer::{check_answer, lifted_bytes};
use crate::bindings::{self, carillon::plugin::types as wit};
use crate::budget::Ticking;
use crate::component::root_cause;
use crate::guest::Guest;
use crate::limits::Isolation;
use crate::model::{Answer, Fault, GuestEvent};
use crate::plugin::Plugin;
use crate::refusal::Refusal;
use crate::sandbox::Sandbox;
use crate::state::State;
use crate::tenant::Tenant;

/// The function that 0.1.1 of the interface added. The engine takes the name of a later patch for
/// that of an earlier one.
const HANDLER: &str = "carillon:plugin/handler@0.1.0";
const STATE_VERSION: &str = "state-version";

/// Whether what a call sends leaves the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Egress {
    /// It does, to granted hosts.
    Open,
    /// It does not, and the guest is told so: for shadows, dry runs and replays.
    Closed,
}

/// What came of one call.
pub struct Call {
    /// What the plugin answered, or what went wrong.
    pub answer: Result<Answer, Fault>,
    /// The state, with what the call wrote to it; after a fault, or an answer other than
    /// [`Answer::Handled`], that is to be undone.
    pub state: Box<dyn State>,
    /// How long it took by the wall clock, a new instance and all waiting included.
    pub took: Duration,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("answer", &self.answer)
            .field("took", &self.took)
            .finish_non_exhaustive()
    }
}

/// Handles events with a warm instance, one after another, on one thread.
pub struct Session<'a> {
    plugin: &'a Plugin,
    egress: Egress,
    live: Option<Live>,
    _ticking: Ticking<'a>,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("plugin", &self.plugin)
            .finish_non_exhaustive()
    }
}

/// One instance with its store.
pub(crate) struct Live {
    store: Store<Guest>,
    plugin: bindings::Plugin,
    calls: u64,
}

impl<'a> Session<'a> {
    pub(crate) fn new(plugin: &'a Plugin, egress: Egress) -> Self {
        let ticking = plugin.inner.examined.sandbox().inner.ticker.ticking();
        Self {
            plugin,
            egress,
            live: None,
            _ticking: ticking,
        }
    }

    /// Hands one event to the plugin, with the state that it is to see.
    pub fn handle(&mut self, event: &GuestEvent<'_>, state: Box<dyn State>) -> Call {
        let began = Instant::now();
        let mut live = match self.take_instance() {
            Ok(live) => live,
            Err(fault) => {
                return Call {
                    answer: Err(fault),
                    state,
                    took: began.elapsed(),
                };
            }
        };
        let call = live.handle(event, state, self.egress, began);
        let limits = self.plugin.limits();
        let reusable = call.answer.is_ok()
            && limits.isolation == Isolation::Warm
            && live.calls < limits.calls_per_instance
            && live.store.data().system.is_reusable();
        if reusable {
            self.live = Some(live);
        }
        call
    }

    fn take_instance(&mut self) -> Result<Live, Fault> {
        if let Some(live) = self.live.take() {
            return Ok(live);
        }
        let ready = &self.plugin.inner;
        let sandbox = ready.examined.sandbox();
        if ready.tenant.limits.isolation == Isolation::Warm
            && let Some(live) = sandbox.inner.warm.take(ready.key)
        {
            return Ok(live);
        }
        Live::new(sandbox, &ready.examined.inner.pre, &ready.tenant)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            let ready = &self.plugin.inner;
            let warm = &ready.examined.sandbox().inner.warm;
            warm.give_back(ready.key, live);
        }
    }
}

impl Live {
    pub(crate) fn new(
        sandbox: &Sandbox,
        pre: &bindings::PluginPre<Guest>,
        tenant: &Arc<Tenant>,
    ) -> Result<Self, Fault> {
        let (store, plugin) = instantiate(sandbox, tenant, |store| pre.instantiate(store))?;
        Ok(Self {
            store,
            plugin,
            calls: 0,
        })
    }

    /// How much linear memory it holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory_bytes
    }

    pub(crate) fn describe(&mut self) -> Result<wit::Description, Fault> {
        self.store.data_mut().describing = true;
        self.store.set_epoch_deadline(1);
        let said = self
            .plugin
            .carillon_plugin_handler()
            .call_describe(&mut self.store);
        let guest = self.store.data_mut();
        guest.describing = false;
        guest.end_lines();
        said.map_err(|error| fault(guest, &error))
    }

    fn handle(
        &mut self,
        event: &GuestEvent<'_>,
        state: Box<dyn State>,
        egress: Egress,
        began: Instant,
    ) -> Call {
        self.calls += 1;
        self.store.data_mut().begin(event, state, egress);
        self.store.set_epoch_deadline(1);
        let said = self
            .plugin
            .carillon_plugin_handler()
            .call_handle(&mut self.store, lower(event));
        let answer = match said {
            Ok(said) => {
                let guest = self.store.data_mut();
                guest.actions = said.as_ref().map_or(0, Vec::len);
                guest.lifted(lifted_bytes(&said));
                check_answer(said, guest.limits())
            }
            Err(error) => Err(fault(self.store.data_mut(), &error)),
        };
        let took = began.elapsed();
        Call {
            answer,
            state: self.store.data_mut().end(took),
            took,
        }
    }
}

/// The number that `state-version` answers, which an instance of its own is asked for; 0 where
/// there is no such function.
pub(crate) fn state_version(
    sandbox: &Sandbox,
    pre: &bindings::PluginPre<Guest>,
    tenant: &Arc<Tenant>,
) -> Result<u32, Refusal> {
    let component = pre.instance_pre().component();
    let handler = component.get_export_index(None, HANDLER);
    let Some(function) =
        handler.and_then(|handler| component.get_export_index(Some(&handler), STATE_VERSION))
    else {
        return Ok(0);
    };
    let failed = |fault: Fault| Refusal::Describe(fault.to_string());
    let (mut store, instance) = instantiate(sandbox, tenant, |store| {
        pre.instance_pre().instantiate(store)
    })
    .map_err(failed)?;
    let function = instance
        .get_typed_func::<(), (u32,)>(&mut store, function)
        .map_err(|error| Refusal::WrongTypes(format!("{STATE_VERSION}: {error:#}")))?;
    store.data_mut().describing = true;
    store.set_epoch_deadline(1);
    let said = function.call(&mut store, ());
    let guest = store.data_mut();
    guest.end_lines();
    said.map(|(version,)| version)
        .map_err(|error| failed(fault(guest, &error)))
}

/// Makes an instance; where the pool is full, idle ones make room for it.
fn instantiate<T>(
    sandbox: &Sandbox,
    tenant: &Arc<Tenant>,
    make: impl Fn(&mut Store<Guest>) -> wasmtime::Result<T>,
) -> Result<(Store<Guest>, T), Fault> {
    loop {
        let mut store = store(sandbox, Guest::new(Arc::clone(tenant)));
        let made = make(&mut store);
        let guest = store.data_mut();
        // What it prints at its start is not to run into the lines of its first event.
        guest.end_lines();
        let error = match made {
            Ok(made) => return Ok((store, made)),
            Err(error) => error,
        };
        if error.is::<PoolConcurrencyLimitError>() && sandbox.inner.warm.drop_oldest() {
            continue;
        }
        return Err(explained(guest, root_cause(&error), Fault::Instance));
    }
}

fn fault(guest: &mut Guest, error: &wasmtime::Error) -> Fault {
    if error.downcast_ref::<Trap>() == Some(&Trap::StackOverflow) {
        return Fault::Stack;
    }
    let reason = root_cause(error);
    // The engine has no public type for it; a test holds the words.
    if reason.contains("fuel allocated for hostcalls") {
        return Fault::Output {
            limit_bytes: guest.limits().output_bytes,
        };
    }
    explained(guest, reason, Fault::Trap)
}

/// What the host knows about a failure tells more than the trap that follows from it, and so does
/// what the guest complained about before.
fn explained(guest: &mut Guest, reason: String, otherwise: fn(String) -> Fault) -> Fault {
    guest.end_lines();
    match guest.fault.take() {
        Some(fault) => fault,
        None => otherwise(guest.with_last_error(reason)),
    }
}

/// A store whose guest is held to its limits.
fn store(sandbox: &Sandbox, guest: Guest) -> Store<Guest> {
    let output_bytes = guest.limits().output_bytes;
    let mut store = Store::new(&sandbox.inner.engine, guest);
    store.limiter(|guest| guest);
    store.set_hostcall_fuel(output_bytes);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut context| {
        let guest = context.data_mut();
        match guest.budget.tick() {
            None => Ok(UpdateDeadline::Continue(1)),
            Some(fault) => {
                guest.fault = Some(fault);
                Ok(UpdateDeadline::Interrupt)
            }
        }
    });
    store
}

fn lower<'a>(event: &GuestEvent<'a>) -> wit::Event<'a> {
    wit::Event {
        id: event.id,
        kind: event.kind,
        time: event.time_ms,
        logged_at: event.logged_at_ms,
        user_id: event.user_id,
        resource_id: event.resource_id,
        subject_id: event.subject_id,
        data: event.data,
        correlation_id: event.correlation_id,
        position: wit::Position {
            topic: event.topic,
            partition: event.partition,
            offset: event.offset,
        },
        attempt: event.attempt,
    }
}
