//! What the tests have in common: built guests, events for them, and a state in memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use carillon_sandbox::{
    Action, Answer, Fault, Grants, GuestEvent, Limits, LogLine, LogSink, NoLog, NoState,
    Notification, Plugin, Refusal, Sandbox, SandboxConfig, Session, State, StateUnavailable,
};

/// The bytes of a guest.
#[track_caller]
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/guests");
    let path = folder.join(name).with_extension("wasm");
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{name}.wasm: {error}; run bash plugins/build.sh --guests"))
}

/// A sandbox with room for a few instances.
pub(crate) fn sandbox() -> Sandbox {
    sandbox_with(|_| {})
}

pub(crate) fn sandbox_with(change: impl FnOnce(&mut SandboxConfig)) -> Sandbox {
    let mut config = SandboxConfig {
        max_instances: 20,
        ..SandboxConfig::default()
    };
    change(&mut config);
    Sandbox::new(config, None).unwrap()
}

/// Loads a guest with limits that differ from the usual ones.
#[track_caller]
pub(crate) fn load_with(sandbox: &Sandbox, name: &str, change: impl FnOnce(&mut Limits)) -> Plugin {
    let mut grants = Grants::default();
    change(&mut grants.limits);
    ready(sandbox, &guest(name), grants).unwrap()
}

/// From bytes to a plugin, or to the sentence that says why not.
pub(crate) fn ready(sandbox: &Sandbox, bytes: &[u8], grants: Grants) -> Result<Plugin, Refusal> {
    sandbox.examine(bytes)?.ready(grants, Arc::new(NoLog))
}

#[track_caller]
pub(crate) fn load(sandbox: &Sandbox, name: &str) -> Plugin {
    load_with(sandbox, name, |_| {})
}

/// An event with this `eventData`.
pub(crate) fn event(data: &str) -> GuestEvent<'_> {
    GuestEvent {
        id: "event-1",
        kind: "booking.created",
        time_ms: 1_755_597_600_000,
        logged_at_ms: 1_755_597_600_010,
        user_id: Some("user-1"),
        resource_id: Some("room-1"),
        subject_id: Some("booking-1"),
        data,
        correlation_id: None,
        topic: "booking-events",
        partition: 0,
        offset: 7,
        attempt: 1,
    }
}

pub(crate) const MISBEHAVE: &str = "{}";
pub(crate) const BEHAVE: &str = r#"{"misbehave": false}"#;

/// One call without state.
pub(crate) fn call(session: &mut Session<'_>, data: &str) -> Result<Answer, Fault> {
    session.handle(&event(data), Box::new(NoState)).answer
}

/// The notification of an answer that consists of one.
#[track_caller]
pub(crate) fn notified(answer: Result<Answer, Fault>) -> Notification {
    match answer {
        Ok(Answer::Handled(actions)) => match <[Action; 1]>::try_from(actions) {
            Ok([Action::Notify(notification)]) => *notification,
            other => panic!("expected one notification: {other:?}"),
        },
        other => panic!("expected one notification: {other:?}"),
    }
}

/// The state of one plugin. Its clones share what it holds.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    values: BTreeMap<String, Vec<u8>>,
    broken: bool,
    full: bool,
}

impl Memory {
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        let held = self.0.lock().unwrap();
        held.values
            .get(key)
            .map(|value| String::from_utf8(value.clone()).unwrap())
    }

    pub(crate) fn put(&self, key: &str, value: &str) {
        self.0
            .lock()
            .unwrap()
            .values
            .insert(key.to_owned(), value.into());
    }

    pub(crate) fn broken(&self, broken: bool) {
        self.0.lock().unwrap().broken = broken;
    }

    pub(crate) fn full(&self, full: bool) {
        self.0.lock().unwrap().full = full;
    }

    fn ask<T>(&self, ask: impl FnOnce(&mut Held) -> T) -> Result<T, StateUnavailable> {
        let mut held = self.0.lock().unwrap();
        if held.broken {
            return Err(StateUnavailable("the disk is gone".to_owned()));
        }
        Ok(ask(&mut held))
    }
}

impl State for Memory {
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, StateUnavailable> {
        self.ask(|held| held.values.get(key).cloned())
    }

    fn set(&mut self, key: &str, value: Vec<u8>, _: Option<u64>) -> Result<bool, StateUnavailable> {
        self.ask(|held| {
            if !held.full {
                held.values.insert(key.to_owned(), value);
            }
            !held.full
        })
    }

    fn delete(&mut self, key: &str) -> Result<(), StateUnavailable> {
        self.ask(|held| drop(held.values.remove(key)))
    }
}

/// Keeps a plugin's log lines: the level and the text.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Vec<String>>);

impl Kept {
    /// What came since it was last asked.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl LogSink for Kept {
    fn line(&self, line: LogLine<'_>) {
        let line = format!("{} {}", line.level.name(), line.text);
        self.0.lock().unwrap().push(line);
    }
}
