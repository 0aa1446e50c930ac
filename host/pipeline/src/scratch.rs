//! Plugin state for a replay that leaves the real state alone: reads go through to what is stored,
//! writes are kept as long as the replay lasts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use carillon_sandbox::{State, StateUnavailable};
use carillon_store::{PluginId, Store};
use tokio::runtime::Handle;

/// A value and the time from which it is hidden (milliseconds since 1970).
type Value = Option<(Vec<u8>, Option<i64>)>;

/// See the module.
pub(crate) struct Scratch {
    plugin: PluginId,
    store: Store,
    runtime: Handle,
    /// What may be written in all, in bytes.
    quota_bytes: usize,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    kept: HashMap<String, Value>,
    kept_bytes: usize,
    /// By the call at hand.
    call: HashMap<String, Value>,
}

impl Scratch {
    pub(crate) fn new(plugin: PluginId, store: Store, runtime: Handle, quota_bytes: usize) -> Self {
        Self {
            plugin,
            store,
            runtime,
            quota_bytes,
            written: Mutex::default(),
        }
    }

    pub(crate) fn keep_call(&self) {
        let mut written = self.lock();
        let call = std::mem::take(&mut written.call);
        for (key, value) in call {
            written.kept_bytes += size_bytes(&key, &value);
            if let Some(old) = written.kept.insert(key.clone(), value) {
                written.kept_bytes -= size_bytes(&key, &old);
            }
        }
    }

    pub(crate) fn drop_call(&self) {
        self.lock().call.clear();
    }

    /// The value as the replay has left it. Called on a worker's thread only.
    fn read(&self, key: &str) -> Result<Value, StateUnavailable> {
        {
            let written = self.lock();
            if let Some(own) = written.call.get(key).or_else(|| written.kept.get(key)) {
                return Ok(own.clone());
            }
        }
        self.runtime
            .block_on(self.store.state_value(self.plugin, key))
            .map(|snapshot| snapshot.value)
            .map_err(|error| StateUnavailable(error.to_string()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size_bytes(key: &str, value: &Value) -> usize {
    key.len() + value.as_ref().map_or(0, |(value, _)| value.len())
}

/// The state as one call of a replay sees it.
pub(crate) struct ScratchCall {
    scratch: Arc<Scratch>,
    now_ms: i64,
}

impl ScratchCall {
    pub(crate) fn new(scratch: &Arc<Scratch>, now_ms: i64) -> Self {
        Self {
            scratch: Arc::clone(scratch),
            now_ms,
        }
    }

    fn look_up(&self, key: &str) -> Result<Value, StateUnavailable> {
        let value = self.scratch.read(key)?;
        Ok(value.filter(|(_, expires)| expires.is_none_or(|at| at > self.now_ms)))
    }
}

impl State for ScratchCall {
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, StateUnavailable> {
        Ok(self.look_up(key)?.map(|(value, _)| value))
    }

    fn set(
        &mut self,
        key: &str,
        value: Vec<u8>,
        time_to_live_ms: Option<u64>,
    ) -> Result<bool, StateUnavailable> {
        let mut written = self.scratch.lock();
        if written.kept_bytes + key.len() + value.len() > self.scratch.quota_bytes {
            return Ok(false);
        }
        let expires = time_to_live_ms.map(|ms| self.now_ms.saturating_add_unsigned(ms));
        written.call.insert(key.to_owned(), Some((value, expires)));
        Ok(true)
    }

    fn delete(&mut self, key: &str) -> Result<(), StateUnavailable> {
        self.scratch.lock().call.insert(key.to_owned(), None);
        Ok(())
    }

    fn remaining_ms(&mut self, key: &str) -> Result<Option<u64>, StateUnavailable> {
        let expires = self.look_up(key)?.and_then(|(_, expires)| expires);
        Ok(expires.map(|at| at.saturating_sub(self.now_ms).max(0).unsigned_abs()))
    }
}
