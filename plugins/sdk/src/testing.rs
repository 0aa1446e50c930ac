//! Stands in for the host in native tests: no Kafka, no sandbox, no store.
//!
//! ```
//! use carillon_plugin::prelude::*;
//! use carillon_plugin::testing::{Environment, event};
//!
//! fn handle(event: Event) -> Result<Vec<Action>, Failure> {
//!     let count = state::increment("seen", 1)?;
//!     log::info!("event {} is number {count}", event.id);
//!     Ok(vec![])
//! }
//!
//! let environment = Environment::new();
//! environment.call(handle, event("booking.created").build()).unwrap();
//! assert_eq!(environment.state("seen").unwrap(), b"1");
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use serde::Serialize;

use crate::http::{Request, Response};
use crate::log::Level;
use crate::{Action, Description, Event, Failure, Position, time};

#[derive(Clone, Default)]
struct Entry {
    value: Vec<u8>,
    expires_at_ms: Option<i64>,
}

type AnswerRequest = dyn Fn(&Request) -> Result<Response, crate::http::Error>;

#[derive(Default)]
struct World {
    settings: BTreeMap<String, String>,
    state: BTreeMap<String, Entry>,
    lines: Vec<(Level, String)>,
    answer_request: Option<Rc<AnswerRequest>>,
    now_ms: i64,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

fn with<T>(use_it: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with(|world| use_it(&mut world.borrow_mut()))
}

/// The settings, state and log that plugin code sees on this thread, empty at first and
/// emptied again on drop. Use one at a time.
#[derive(Debug)]
pub struct Environment {
    // What it stands for belongs to one thread.
    not_send: PhantomData<*const ()>,
}

impl Default for Environment {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        with(|world| *world = World::default());
    }
}

impl Environment {
    /// Nothing set, nothing stored.
    #[must_use]
    pub fn new() -> Self {
        with(|world| *world = World::default());
        Self {
            not_send: PhantomData,
        }
    }

    /// The settings have the defaults that the plugin declares:
    /// `Environment::of(&describe())`.
    #[must_use]
    pub fn of(description: &Description) -> Self {
        let environment = Self::new();
        for setting in &description.settings {
            if let Some(default) = &setting.default {
                environment.set_setting(&setting.key, default);
            }
        }
        environment
    }

    /// Gives a setting a value, as the operator would.
    pub fn set_setting(&self, key: &str, value: &str) {
        with(|world| world.settings.insert(key.to_owned(), value.to_owned()));
    }

    /// Answers the plugin's requests, in the place of all hosts. Without it each request fails.
    pub fn answer_requests(
        &self,
        answer: impl Fn(&Request) -> Result<Response, crate::http::Error> + 'static,
    ) {
        with(|world| world.answer_request = Some(Rc::new(answer)));
    }

    /// Calls the plugin as the host would: the event's `logged_at` is the time, and what the
    /// call wrote to the state is gone if it fails.
    ///
    /// # Errors
    /// What the plugin answers.
    pub fn call(
        &self,
        handle: impl FnOnce(Event) -> Result<Vec<Action>, Failure>,
        event: Event,
    ) -> Result<Vec<Action>, Failure> {
        let before = with(|world| {
            world.now_ms = event.logged_at;
            world.state.clone()
        });
        let answer = handle(event);
        if answer.is_err() {
            with(|world| world.state = before);
        }
        answer
    }

    /// What the plugin's state holds under a key.
    #[must_use]
    pub fn state(&self, key: &str) -> Option<Vec<u8>> {
        state::get(key)
    }

    /// The lines that the plugin wrote since they were last taken.
    #[must_use]
    pub fn take_log(&self) -> Vec<(Level, String)> {
        with(|world| std::mem::take(&mut world.lines))
    }
}

pub(crate) fn record_line(level: Level, message: &str) {
    println!("{level:?}: {message}");
    with(|world| world.lines.push((level, message.to_owned())));
}

pub(crate) fn setting(key: &str) -> Option<String> {
    with(|world| world.settings.get(key).cloned())
}

/// The host's `http` interface, answered by the test.
pub(crate) mod http {
    use super::with;
    use crate::http::{Error, Request, Response};

    pub(crate) fn send(request: &Request) -> Result<Response, Error> {
        match with(|world| world.answer_request.clone()) {
            Some(answer) => answer(request),
            None => Err(Error::Failed(
                "no test answers: call Environment::answer_requests".to_owned(),
            )),
        }
    }
}

/// The host's `state` interface, over the thread's own values.
pub(crate) mod state {
    use super::{Entry, with};
    use crate::state::Error;

    const MAX_KEY_BYTES: usize = 512;

    pub(crate) fn get(key: &str) -> Option<Vec<u8>> {
        with(|world| {
            let entry = world.state.get(key)?;
            let alive = entry.expires_at_ms.is_none_or(|end| world.now_ms < end);
            alive.then(|| entry.value.clone())
        })
    }

    pub(crate) fn set(key: &str, value: &[u8], time_to_live: Option<u64>) -> Result<(), Error> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES || key.contains('\0') {
            return Err(Error::InvalidKey);
        }
        with(|world| {
            let expires_at_ms =
                time_to_live.map(|length_ms| world.now_ms.saturating_add_unsigned(length_ms));
            let entry = Entry {
                value: value.to_vec(),
                expires_at_ms,
            };
            world.state.insert(key.to_owned(), entry);
        });
        Ok(())
    }

    pub(crate) fn delete(key: &str) {
        with(|world| world.state.remove(key));
    }

    pub(crate) fn increment(key: &str, by: i64, time_to_live: Option<u64>) -> Result<i64, Error> {
        let old = match get(key) {
            None => 0,
            Some(value) => std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .ok_or(Error::NotANumber)?,
        };
        let sum = old.checked_add(by).ok_or(Error::NotANumber)?;
        let remaining = time_to_live.or_else(|| remaining_ms(key));
        set(key, sum.to_string().as_bytes(), remaining)?;
        Ok(sum)
    }

    fn remaining_ms(key: &str) -> Option<u64> {
        with(|world| {
            let end = world.state.get(key)?.expires_at_ms?;
            u64::try_from(end - world.now_ms).ok()
        })
    }
}

/// An event of a kind, to be filled with what the test is about.
///
/// Without further calls it happened at 2025-08-19T10:00:00Z, has no user, resource or subject,
/// and empty data.
#[must_use]
pub fn event(kind: &str) -> EventBuilder {
    let time_ms = 1_755_597_600_000;
    EventBuilder(Event {
        id: "event-1".to_owned(),
        kind: kind.to_owned(),
        time: time_ms,
        logged_at: time_ms,
        user_id: None,
        resource_id: None,
        subject_id: None,
        data: "{}".to_owned(),
        correlation_id: None,
        position: Position {
            topic: "test-events".to_owned(),
            partition: 0,
            offset: 0,
        },
        attempt: 1,
    })
}

/// Builds an [`Event`] for a test; see [`event`].
#[derive(Clone, Debug)]
pub struct EventBuilder(Event);

impl EventBuilder {
    /// The event's id.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.0.id = id.to_owned();
        self
    }

    /// The user whom the event is about.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.0.user_id = Some(user.to_owned());
        self
    }

    /// The resource that it is about.
    #[must_use]
    pub fn resource(mut self, resource: &str) -> Self {
        self.0.resource_id = Some(resource.to_owned());
        self
    }

    /// The thing that changed.
    #[must_use]
    pub fn subject(mut self, subject: &str) -> Self {
        self.0.subject_id = Some(subject.to_owned());
        self
    }

    /// `eventData`.
    ///
    /// # Panics
    /// When the value cannot be written as JSON.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a test that cannot be set up must stop")]
    pub fn data(mut self, data: &impl Serialize) -> Self {
        self.0.data = serde_json::to_string(data).expect("test data can be written as JSON");
        self
    }

    /// When it happened and was logged, as RFC 3339 text.
    ///
    /// # Panics
    /// When the text is no time.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a test that cannot be set up must stop")]
    pub fn at(mut self, text: &str) -> Self {
        let time_ms = time::parse_ms(text).expect("an RFC 3339 time, 2025-08-19T10:00:00Z");
        self.0.time = time_ms;
        self.0.logged_at = time_ms;
        self
    }

    /// Which handling of the event this is, from 1.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.0.attempt = attempt;
        self
    }

    /// The event.
    #[must_use]
    pub fn build(self) -> Event {
        self.0
    }
}
