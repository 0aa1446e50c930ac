//! Calls into a plugin.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use crate::answer::check_answer;
use crate::bindings::{self, carillon::plugin::types as wit};
use crate::budget::Ticking;
use crate::component::root_cause;
use crate::guest::Guest;
use crate::limits::{Isolation, Limits};
use crate::model::{Answer, Fault, GuestEvent};
use crate::plugin::{Plugin, Sandbox};
use crate::state::State;

/// Handles events with a warm instance, one after another, on one thread.
pub struct Session<'a> {
    plugin: &'a Plugin,
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
    pub(crate) fn new(plugin: &'a Plugin) -> Self {
        let ticking = plugin.inner.sandbox.inner.ticker.ticking();
        Self {
            plugin,
            live: None,
            _ticking: ticking,
        }
    }

    /// Hands one event to the plugin. `state` comes back with what the call wrote to it;
    /// after a fault, or an answer other than [`Answer::Handled`], that is to be undone.
    pub fn handle(
        &mut self,
        event: &GuestEvent<'_>,
        state: Box<dyn State>,
    ) -> (Result<Answer, Fault>, Box<dyn State>) {
        let mut live = match self.take_instance() {
            Ok(live) => live,
            Err(fault) => return (Err(fault), state),
        };
        let (answer, state) = live.handle(event, state);
        let limits = &self.plugin.inner.limits;
        let reusable = answer.is_ok()
            && limits.isolation == Isolation::Warm
            && live.calls < limits.calls_per_instance;
        if reusable {
            self.live = Some(live);
        }
        (answer, state)
    }

    fn take_instance(&mut self) -> Result<Live, Fault> {
        if let Some(live) = self.live.take() {
            return Ok(live);
        }
        let compiled = &self.plugin.inner;
        if compiled.limits.isolation == Isolation::Warm
            && let Some(live) = compiled.sandbox.inner.warm.take(compiled.key)
        {
            return Ok(live);
        }
        Live::new(
            &compiled.sandbox,
            &compiled.pre,
            &compiled.name,
            &compiled.limits,
            &compiled.settings,
        )
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            self.plugin
                .inner
                .sandbox
                .inner
                .warm
                .give_back(self.plugin.inner.key, live);
        }
    }
}

impl Live {
    pub(crate) fn new(
        sandbox: &Sandbox,
        pre: &bindings::PluginPre<Guest>,
        name: &Arc<str>,
        limits: &Arc<Limits>,
        settings: &Arc<HashMap<String, String>>,
    ) -> Result<Self, Fault> {
        loop {
            let guest = Guest::new(Arc::clone(name), Arc::clone(limits), Arc::clone(settings));
            let mut store = store(sandbox, guest);
            let error = match pre.instantiate(&mut store) {
                Ok(plugin) => {
                    return Ok(Self {
                        store,
                        plugin,
                        calls: 0,
                    });
                }
                Err(error) => error,
            };
            if error.is::<PoolConcurrencyLimitError>() && sandbox.inner.warm.drop_oldest() {
                continue;
            }
            let fault = store.data_mut().fault.take();
            return Err(fault.unwrap_or_else(|| Fault::Instance(root_cause(&error))));
        }
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
        self.store.data_mut().describing = false;
        said.map_err(|error| self.fault(&error))
    }

    fn handle(
        &mut self,
        event: &GuestEvent<'_>,
        state: Box<dyn State>,
    ) -> (Result<Answer, Fault>, Box<dyn State>) {
        self.calls += 1;
        self.store.data_mut().begin(event.id, state);
        self.store.set_epoch_deadline(1);
        let said = self
            .plugin
            .carillon_plugin_handler()
            .call_handle(&mut self.store, lower(event));
        let answer = match said {
            Ok(said) => check_answer(said, &self.store.data().limits),
            Err(error) => Err(self.fault(&error)),
        };
        (answer, self.store.data_mut().end())
    }

    /// What the host knows about a failure tells more than the trap that follows from it.
    fn fault(&mut self, error: &wasmtime::Error) -> Fault {
        if error.downcast_ref::<Trap>() == Some(&Trap::StackOverflow) {
            return Fault::Stack;
        }
        let reason = root_cause(error);
        let guest = self.store.data_mut();
        // The engine has no public type for it; a test holds the words.
        if reason.contains("fuel allocated for hostcalls") {
            return Fault::Output {
                limit_bytes: guest.limits.output_bytes,
            };
        }
        if let Some(fault) = guest.fault.take() {
            return fault;
        }
        Fault::Trap(match guest.last_error.take() {
            Some(line) => format!("{reason}; its last error line was: {line}"),
            None => reason,
        })
    }
}

/// A store whose guest is held to its limits.
fn store(sandbox: &Sandbox, guest: Guest) -> Store<Guest> {
    let output_bytes = guest.limits.output_bytes;
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
