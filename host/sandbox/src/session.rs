//! Calls into a plugin.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::bindings::{self, carillon::plugin::types as wit};
use crate::budget::Ticking;
use crate::component::root_cause;
use crate::guest::Guest;
use crate::limits::{Isolation, Limits};
use crate::model::{
    Action, Answer, Channel, Digest, Fault, GuestEvent, Notification, Recipient, Urgency, Withdrawal,
};
use crate::plugin::{Plugin, Sandbox};
use crate::state::State;

/// Bounds of single texts, in bytes. The whole answer has a bound of its own.
const MAX_TITLE_BYTES: usize = 800;
const MAX_NAME_BYTES: usize = 256;
const MAX_BODY_BYTES: usize = 64 << 10;
const MAX_LINK_BYTES: usize = 2_048;

/// Handles events with a warm instance, one after another, on one thread.
pub struct Session<'a> {
    plugin: &'a Plugin,
    live: Option<Live>,
    _ticking: Ticking<'a>,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("plugin", &self.plugin).finish_non_exhaustive()
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
        Self { plugin, live: None, _ticking: ticking }
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
        let reusable = answer.is_ok() && limits.isolation == Isolation::Warm && live.calls < limits.calls_per_instance;
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
            Arc::clone(&compiled.name),
            Arc::clone(&compiled.limits),
            Arc::clone(&compiled.settings),
        )
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(live) = self.live.take() {
            self.plugin.inner.sandbox.inner.warm.give_back(self.plugin.inner.key, live);
        }
    }
}

impl Live {
    pub(crate) fn new(
        sandbox: &Sandbox,
        pre: &bindings::PluginPre<Guest>,
        name: Arc<str>,
        limits: Arc<Limits>,
        settings: Arc<HashMap<String, String>>,
    ) -> Result<Self, Fault> {
        let output_bytes = limits.output_bytes;
        let mut store = Store::new(&sandbox.inner.engine, Guest::new(name, limits, settings));
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
        let plugin = match pre.instantiate(&mut store) {
            Ok(plugin) => plugin,
            Err(error) => {
                let fault = store.data_mut().fault.take();
                return Err(fault.unwrap_or_else(|| Fault::Instance(root_cause(&error))));
            }
        };
        Ok(Self { store, plugin, calls: 0 })
    }

    pub(crate) fn describe(&mut self) -> Result<wit::Description, Fault> {
        self.store.data_mut().describing = true;
        self.store.set_epoch_deadline(1);
        let said = self.plugin.carillon_plugin_handler().call_describe(&mut self.store);
        self.store.data_mut().describing = false;
        said.map_err(|error| self.fault(&error))
    }

    fn handle(&mut self, event: &GuestEvent<'_>, state: Box<dyn State>) -> (Result<Answer, Fault>, Box<dyn State>) {
        self.calls += 1;
        self.store.data_mut().begin(event.id, state);
        self.store.set_epoch_deadline(1);
        let said = self.plugin.carillon_plugin_handler().call_handle(&mut self.store, lower(event));
        let answer = match said {
            Ok(said) => check_answer(said, &self.store.data().limits),
            Err(error) => Err(self.fault(&error)),
        };
        (answer, self.store.data_mut().end())
    }

    /// What the host knows about a failure tells more than the trap that follows from it.
    fn fault(&mut self, error: &wasmtime::Error) -> Fault {
        let noted = self.store.data_mut().fault.take();
        let trap = error.downcast_ref::<Trap>();
        if trap == Some(&Trap::StackOverflow) {
            return Fault::Stack;
        }
        if let Some(fault) = noted {
            return fault;
        }
        let reason = root_cause(error);
        if reason.contains("fuel allocated for hostcalls") {
            return Fault::Output { limit_bytes: self.store.data().limits.output_bytes };
        }
        Fault::Trap(reason)
    }
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
        position: wit::Position { topic: event.topic, partition: event.partition, offset: event.offset },
        attempt: event.attempt,
    }
}

fn check_answer(said: Result<Vec<wit::Action>, wit::Failure>, limits: &Limits) -> Result<Answer, Fault> {
    match said {
        Err(wit::Failure::Reject(reason)) => Ok(Answer::Reject(reason_line(&reason))),
        Err(wit::Failure::Retry(reason)) => Ok(Answer::Retry(reason_line(&reason))),
        Ok(actions) => {
            if actions.len() > limits.actions {
                return Err(Fault::Answer(format!(
                    "it has {} actions, and at most {} are taken",
                    actions.len(),
                    limits.actions
                )));
            }
            let actions: Result<Vec<Action>, Fault> = actions.into_iter().map(check_action).collect();
            actions.map(Answer::Handled)
        }
    }
}

fn reason_line(reason: &str) -> String {
    let line = &reason[..reason.floor_char_boundary(1_000)];
    line.replace(|c: char| c.is_control(), " ")
}

fn check_action(action: wit::Action) -> Result<Action, Fault> {
    match action {
        wit::Action::Withdraw(withdrawal) => Ok(Action::Withdraw(Withdrawal {
            recipient: check_recipient(withdrawal.recipient)?,
            collapse_key: check_text("collapse-key", withdrawal.collapse_key, MAX_NAME_BYTES)?,
        })),
        wit::Action::Notify(notification) => check_notification(notification).map(|n| Action::Notify(Box::new(n))),
    }
}

fn check_notification(said: wit::Notification) -> Result<Notification, Fault> {
    let optional = |name: &str, text: Option<String>, bytes: usize| {
        text.map(|text| check_text(name, text, bytes)).transpose()
    };
    let data = match said.data {
        None => None,
        Some(text) => {
            let text = check_text("data", text, usize::MAX)?;
            let parsed = RawValue::from_string(text);
            Some(parsed.map_err(|error| Fault::Answer(format!("`data` is not JSON: {error}")))?)
        }
    };
    let digest = match said.digest {
        None => None,
        Some(digest) => Some(Digest {
            key: check_text("digest.key", digest.key, MAX_NAME_BYTES)?,
            window_ms: i64::try_from(digest.window)
                .map_err(|_| Fault::Answer("`digest.window` is longer than time".to_owned()))?,
        }),
    };
    if said.channels.len() > 6 {
        return Err(Fault::Answer("`channels` names more channels than there are".to_owned()));
    }
    Ok(Notification {
        recipient: check_recipient(said.recipient)?,
        category: check_text("category", said.category, MAX_NAME_BYTES)?,
        title: check_text("title", said.title, MAX_TITLE_BYTES)?,
        body: check_text("body", said.body, MAX_BODY_BYTES)?,
        data,
        link: optional("link", said.link, MAX_LINK_BYTES)?,
        channels: said.channels.into_iter().map(channel).collect(),
        urgency: match said.priority {
            wit::Priority::Low => Urgency::Low,
            wit::Priority::Normal => Urgency::Normal,
            wit::Priority::High => Urgency::High,
            wit::Priority::Critical => Urgency::Critical,
        },
        collapse_key: optional("collapse-key", said.collapse_key, MAX_NAME_BYTES)?,
        deliver_at_ms: said.deliver_at,
        expires_at_ms: said.expires_at,
        digest,
    })
}

fn channel(said: wit::Channel) -> Channel {
    match said {
        wit::Channel::InApp => Channel::InApp,
        wit::Channel::Email => Channel::Email,
        wit::Channel::Sms => Channel::Sms,
        wit::Channel::Push => Channel::Push,
        wit::Channel::Chat => Channel::Chat,
        wit::Channel::Webhook => Channel::Webhook,
    }
}

fn check_recipient(said: wit::Recipient) -> Result<Recipient, Fault> {
    let check = |name: &str, text: String| {
        if text.is_empty() {
            return Err(Fault::Answer(format!("`recipient.{name}` is empty")));
        }
        if text.contains(char::is_control) {
            return Err(Fault::Answer(format!("`recipient.{name}` has control characters")));
        }
        check_text(name, text, MAX_NAME_BYTES)
    };
    match said {
        wit::Recipient::User(id) => check("user", id).map(Recipient::User),
        wit::Recipient::Group(name) => check("group", name).map(Recipient::Group),
    }
}

fn check_text(name: &str, text: String, bytes: usize) -> Result<String, Fault> {
    if text.contains('\0') {
        return Err(Fault::Answer(format!("`{name}` contains U+0000")));
    }
    if text.len() > bytes {
        return Err(Fault::Answer(format!("`{name}` has {} bytes, and at most {bytes} are taken", text.len())));
    }
    Ok(text)
}
