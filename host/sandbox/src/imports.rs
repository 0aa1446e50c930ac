//! What a plugin may call: `log`, `settings` and `state` here, `http` in its own module.

use std::time::Instant;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Engine, Result};

use crate::bindings::carillon::plugin::{http, log, settings, state, types};
use crate::guest::Guest;
use crate::log_lines::{LogLevel, LogLine};
use crate::model::Fault;
use crate::state::{State, StateUnavailable};

const MAX_KEY_BYTES: usize = 512;

/// The interfaces that a plugin may import, without versions.
pub(crate) const OFFERED: [&str; 5] = [
    "carillon:plugin/types",
    "carillon:plugin/log",
    "carillon:plugin/settings",
    "carillon:plugin/state",
    "carillon:plugin/http",
];

pub(crate) fn linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    types::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    log::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    settings::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    state::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    http::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    Ok(linker)
}

impl types::Host for Guest {}

impl log::Host for Guest {
    fn write(&mut self, level: log::Level, message: String) -> Result<()> {
        self.lifted(message.len());
        let is_kept = self.note(level, &message);
        // An error may be the reason of the trap that follows: a flood must not hide it.
        if level == log::Level::Error {
            self.last_error = Some(one_line(&message, self.limits().log_line_bytes));
        }
        let counter = match is_kept {
            true => &mut self.log_lines,
            false => &mut self.log_lines_dropped,
        };
        *counter = counter.saturating_add(1);
        Ok(())
    }
}

/// A line must stay one line, whatever the guest puts into it.
pub(crate) fn one_line(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].replace(char::is_control, " ")
}

impl Guest {
    /// Notes a line of the guest, or one about it, within the limits; answers whether it did.
    pub(crate) fn note(&self, level: log::Level, text: &str) -> bool {
        let is_kept = self.log_lines < self.limits().log_lines
            && self.tenant.log_quota.admits(Instant::now());
        if is_kept {
            self.write_line(level, &one_line(text, self.limits().log_line_bytes));
        }
        is_kept
    }

    /// Into the host's log and to the plugin's sink.
    fn write_line(&self, level: log::Level, text: &str) {
        let plugin = &*self.tenant.name;
        let event = self.event_id.as_str();
        let correlation = Some(self.correlation_id.as_str()).filter(|id| !id.is_empty());
        let level = match level {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        match level {
            LogLevel::Trace => {
                tracing::trace!(target: "plugin", plugin, event, correlation, "{text}")
            }
            LogLevel::Debug => {
                tracing::debug!(target: "plugin", plugin, event, correlation, "{text}")
            }
            LogLevel::Info => {
                tracing::info!(target: "plugin", plugin, event, correlation, "{text}")
            }
            LogLevel::Warn => {
                tracing::warn!(target: "plugin", plugin, event, correlation, "{text}")
            }
            LogLevel::Error => {
                tracing::error!(target: "plugin", plugin, event, correlation, "{text}")
            }
        }
        self.tenant.log.line(LogLine {
            level,
            text,
            event_id: event,
            correlation_id: correlation,
        });
    }
}

impl settings::Host for Guest {
    fn get(&mut self, key: String) -> Result<Option<String>> {
        self.refuse_in_describe("settings")?;
        self.lifted(key.len());
        Ok(self.tenant.settings.get(&key).cloned())
    }
}

impl state::Host for Guest {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        self.count_state_call()?;
        if !valid_key(&key) {
            return Ok(None);
        }
        self.state_get(&key)
    }

    fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
        time_to_live: Option<u64>,
    ) -> Result<std::result::Result<(), state::Error>> {
        self.count_state_call()?;
        if !valid_key(&key) {
            return Ok(Err(state::Error::InvalidKey));
        }
        self.state_set(&key, value, time_to_live)
    }

    fn delete(&mut self, key: String) -> Result<()> {
        self.count_state_call()?;
        if !valid_key(&key) {
            return Ok(());
        }
        self.served(|state| state.delete(&key))
    }

    fn increment(
        &mut self,
        key: String,
        by: i64,
        time_to_live: Option<u64>,
    ) -> Result<std::result::Result<i64, state::Error>> {
        self.count_state_call()?;
        if !valid_key(&key) {
            return Ok(Err(state::Error::InvalidKey));
        }
        let current = match self.state_get(&key)? {
            None => 0,
            Some(bytes) => match std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
            {
                Some(number) => number,
                None => return Ok(Err(state::Error::NotANumber)),
            },
        };
        let Some(sum) = current.checked_add(by) else {
            return Ok(Err(state::Error::NotANumber));
        };
        let time_to_live = match time_to_live {
            Some(new) => Some(new),
            None => self.served(|state| state.remaining_ms(&key))?,
        };
        let set = self.state_set(&key, sum.to_string().into_bytes(), time_to_live)?;
        Ok(set.map(|()| sum))
    }
}

fn valid_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY_BYTES && !key.contains('\0')
}

impl Guest {
    fn state_get(&mut self, key: &str) -> Result<Option<Vec<u8>>> {
        self.served(|state| state.get(key))
    }

    fn state_set(
        &mut self,
        key: &str,
        value: Vec<u8>,
        time_to_live_ms: Option<u64>,
    ) -> Result<std::result::Result<(), state::Error>> {
        self.lifted(key.len() + value.len());
        if value.len() > self.limits().state_value_bytes {
            return Ok(Err(state::Error::ValueTooLarge));
        }
        let written = self.state_bytes.saturating_add(key.len() + value.len());
        if written > self.limits().state_bytes {
            return Ok(Err(state::Error::QuotaExceeded));
        }
        self.state_bytes = written;
        self.state_value_bytes = self.state_value_bytes.max(value.len());
        let fits = self.served(|state| state.set(key, value, time_to_live_ms))?;
        Ok(if fits {
            Ok(())
        } else {
            Err(state::Error::QuotaExceeded)
        })
    }

    fn served<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn State) -> std::result::Result<T, StateUnavailable>,
    ) -> Result<T> {
        let asked = Instant::now();
        let result = ask(&mut *self.state);
        self.budget.excuse(asked.elapsed());
        result.map_err(|error| {
            self.fault = Some(Fault::Host(error.to_string()));
            wasmtime::Error::msg(error.to_string())
        })
    }

    fn count_state_call(&mut self) -> Result<()> {
        self.refuse_in_describe("state")?;
        if self.state_calls >= self.limits().state_calls {
            let fault = Fault::StateCalls {
                limit: self.limits().state_calls,
            };
            let reason = fault.to_string();
            self.fault = Some(fault);
            return Err(wasmtime::Error::msg(reason));
        }
        self.state_calls += 1;
        Ok(())
    }

    pub(crate) fn refuse_in_describe(&mut self, interface: &str) -> Result<()> {
        if self.describing {
            let reason = format!("`describe` called `{interface}`; only `log` works there");
            self.fault = Some(Fault::Trap(reason.clone()));
            return Err(wasmtime::Error::msg(reason));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, HashMap};
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::limits::Limits;
    use crate::model::GuestEvent;
    use crate::session::Egress;
    use crate::tenant::Tenant;

    /// Values with what remains of their time.
    #[derive(Default)]
    struct Values(BTreeMap<String, (Vec<u8>, Option<u64>)>);

    impl State for Values {
        fn get(&mut self, key: &str) -> std::result::Result<Option<Vec<u8>>, StateUnavailable> {
            Ok(self.0.get(key).map(|(value, _)| value.clone()))
        }

        fn set(
            &mut self,
            key: &str,
            value: Vec<u8>,
            time_to_live_ms: Option<u64>,
        ) -> std::result::Result<bool, StateUnavailable> {
            self.0.insert(key.to_owned(), (value, time_to_live_ms));
            Ok(self.0.len() <= 2)
        }

        fn delete(&mut self, key: &str) -> std::result::Result<(), StateUnavailable> {
            self.0.remove(key);
            Ok(())
        }

        fn remaining_ms(
            &mut self,
            key: &str,
        ) -> std::result::Result<Option<u64>, StateUnavailable> {
            Ok(self.0.get(key).and_then(|(_, remaining)| *remaining))
        }
    }

    fn guest(limits: Limits) -> Guest {
        let tenant = Tenant {
            settings: HashMap::from([("tone".to_owned(), "kind".to_owned())]),
            ..Tenant::new("test".into(), limits)
        };
        let mut guest = Guest::new(Arc::new(tenant));
        begin(&mut guest, Box::new(Values::default()));
        guest
    }

    fn begin(guest: &mut Guest, state: Box<dyn State>) {
        let event = GuestEvent {
            id: "event-1",
            kind: "booking.created",
            time_ms: 0,
            logged_at_ms: 0,
            user_id: None,
            resource_id: None,
            subject_id: None,
            data: "{}",
            correlation_id: None,
            topic: "booking-events",
            partition: 0,
            offset: 0,
            attempt: 1,
        };
        guest.begin(&event, state, Egress::Closed);
    }

    fn key(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn what_is_set_is_got_until_it_is_deleted() {
        let mut guest = guest(Limits::default());
        assert_eq!(state::Host::get(&mut guest, key("a")).unwrap(), None);
        state::Host::set(&mut guest, key("a"), b"1".to_vec(), Some(5))
            .unwrap()
            .unwrap();
        assert_eq!(
            state::Host::get(&mut guest, key("a")).unwrap(),
            Some(b"1".to_vec())
        );
        state::Host::delete(&mut guest, key("a")).unwrap();
        state::Host::delete(&mut guest, key("a")).unwrap();
        assert_eq!(state::Host::get(&mut guest, key("a")).unwrap(), None);
    }

    #[test]
    fn increment_keeps_the_time_that_a_key_has_left_unless_it_brings_its_own() {
        let mut guest = guest(Limits::default());
        let mut add = |by, time_to_live| {
            state::Host::increment(&mut guest, key("n"), by, time_to_live)
                .unwrap()
                .unwrap()
        };
        assert_eq!([add(5, Some(700)), add(-7, None)], [5, -2]);
        assert_eq!(guest.state.remaining_ms("n").unwrap(), Some(700));
        state::Host::increment(&mut guest, key("n"), 1, Some(90))
            .unwrap()
            .unwrap();
        assert_eq!(guest.state.remaining_ms("n").unwrap(), Some(90));
    }

    #[test]
    fn what_cannot_be_done_is_an_error_of_the_interface_and_no_trap() {
        let mut guest = guest(Limits {
            state_value_bytes: 4,
            ..Limits::default()
        });
        let longest = "k".repeat(MAX_KEY_BYTES);
        for invalid in [String::new(), key("a\0b"), longest.clone() + "k"] {
            let set = state::Host::set(&mut guest, invalid.clone(), Vec::new(), None).unwrap();
            assert!(matches!(set, Err(state::Error::InvalidKey)));
            let add = state::Host::increment(&mut guest, invalid.clone(), 1, None).unwrap();
            assert!(matches!(add, Err(state::Error::InvalidKey)));
            assert_eq!(state::Host::get(&mut guest, invalid.clone()).unwrap(), None);
            state::Host::delete(&mut guest, invalid).unwrap();
        }
        state::Host::set(&mut guest, longest, vec![0; 4], None)
            .unwrap()
            .unwrap();
        let set = state::Host::set(&mut guest, key("a"), vec![0; 5], None).unwrap();
        assert!(matches!(set, Err(state::Error::ValueTooLarge)));
        state::Host::set(&mut guest, key("b"), b"x".to_vec(), None)
            .unwrap()
            .unwrap();
        let add = state::Host::increment(&mut guest, key("b"), 1, None).unwrap();
        assert!(matches!(add, Err(state::Error::NotANumber)));
        let set = state::Host::set(&mut guest, key("one too many"), Vec::new(), None).unwrap();
        assert!(matches!(set, Err(state::Error::QuotaExceeded)));
    }

    #[test]
    fn a_sum_that_overflows_is_no_number() {
        let mut guest = guest(Limits::default());
        state::Host::increment(&mut guest, key("n"), i64::MAX, None)
            .unwrap()
            .unwrap();
        let add = state::Host::increment(&mut guest, key("n"), 1, None).unwrap();
        assert!(matches!(add, Err(state::Error::NotANumber)));
    }

    #[test]
    fn one_call_writes_no_more_than_its_share() {
        let mut guest = guest(Limits {
            state_bytes: 10,
            ..Limits::default()
        });
        state::Host::set(&mut guest, key("a"), vec![0; 9], None)
            .unwrap()
            .unwrap();
        let set = state::Host::set(&mut guest, key("a"), Vec::new(), None).unwrap();
        assert!(matches!(set, Err(state::Error::QuotaExceeded)));
        let state = guest.end(Duration::ZERO);
        begin(&mut guest, state);
        state::Host::set(&mut guest, key("a"), vec![0; 9], None)
            .unwrap()
            .unwrap();
    }

    #[test]
    fn only_log_works_in_describe() {
        let mut guest = guest(Limits::default());
        assert_eq!(
            settings::Host::get(&mut guest, key("tone")).unwrap(),
            Some(key("kind"))
        );
        guest.describing = true;
        log::Host::write(&mut guest, log::Level::Info, key("hello")).unwrap();
        let request = http::Request {
            method: key("GET"),
            url: key("https://example.org/"),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        };
        for refused in [
            settings::Host::get(&mut guest, key("tone")).unwrap_err(),
            state::Host::get(&mut guest, key("a")).unwrap_err(),
            state::Host::set(&mut guest, key("a"), Vec::new(), None).unwrap_err(),
            state::Host::delete(&mut guest, key("a")).unwrap_err(),
            state::Host::increment(&mut guest, key("a"), 1, None).unwrap_err(),
            http::Host::send(&mut guest, request).unwrap_err(),
        ] {
            assert!(
                refused.to_string().contains("only `log` works there"),
                "{refused}"
            );
        }
    }

    #[test]
    fn memories_share_the_grant_and_a_guests_own_maximum_costs_nothing() {
        use wasmtime::ResourceLimiter;
        let mut guest = guest(Limits {
            memory_bytes: 100,
            ..Limits::default()
        });
        assert!(guest.memory_growing(0, 60, None).unwrap());
        assert!(guest.memory_growing(0, 90, Some(70)).unwrap());
        assert!(!guest.memory_growing(0, 41, None).unwrap());
        assert_eq!(guest.fault, Some(Fault::Memory { limit_bytes: 100 }));
        assert!(guest.memory_growing(60, 100, None).unwrap());
        assert_eq!(guest.memory_bytes, 100);
    }
}
