//! One plugin's state, shared by its lanes, ahead of what is committed.
//!
//! The calls of a plugin that imports `state` run one at a time. Each run of calls sees what
//! the runs before it wrote, committed or not, and gets a [`Ticket`] with its place in that
//! order. The committer writes tickets in their order. When one is dropped uncommitted, all
//! that was computed after it is void, and its lanes run again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use carillon_sandbox::{State, StateUnavailable};
use carillon_store::{PluginId, StateWrite, StateWrites, Store, StoreError};
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// A value and the time from which it is hidden (milliseconds since 1970).
type Value = Option<(Vec<u8>, Option<i64>)>;

/// See the module.
pub(crate) struct StateSpace {
    plugin: PluginId,
    store: Store,
    runtime: Handle,
    shared: Mutex<Shared>,
    cache_bytes: usize,
    /// What keys and values may take in all, in bytes. Another version may be granted another.
    quota_bytes: AtomicU64,
    /// Rung when tickets became void, for those who wait with later ones.
    voided: Arc<Notify>,
}

#[derive(Default)]
struct Shared {
    /// Rises when uncommitted work becomes void.
    generation: u64,
    /// The version of the state that the next run starts from; `None`: ask the store.
    next_version: Option<i64>,
    /// The version that the store holds.
    committed_version: i64,
    values: HashMap<String, Cached>,
    /// What the values take, about.
    bytes: usize,
    /// What all keys and values of the plugin take in the store once all that is on its way there
    /// is written; `None`: ask the store. Values that expired and were swept since still count.
    total_bytes: Option<u64>,
}

impl Shared {
    fn insert(&mut self, key: &str, value: Value, version: i64) {
        self.bytes += size_bytes(key, &value);
        if let Some(old) = self
            .values
            .insert(key.to_owned(), Cached { value, version })
        {
            self.bytes -= size_bytes(key, &old.value);
        }
    }

    fn clear(&mut self) {
        self.values.clear();
        self.bytes = 0;
    }

    /// Forgets what the store holds, if there is too much of it.
    fn evict(&mut self, limit: usize) {
        if self.bytes <= limit {
            return;
        }
        let committed = self.committed_version;
        self.values.retain(|_, cached| cached.version > committed);
        self.bytes = self
            .values
            .iter()
            .map(|(key, cached)| size_bytes(key, &cached.value))
            .sum();
    }
}

/// What a key and its value count in the plugin's quota.
fn quota_bytes(key: &str, value: &Value) -> u64 {
    value
        .as_ref()
        .map_or(0, |(value, _)| (key.len() + value.len()) as u64)
}

fn size_bytes(key: &str, value: &Value) -> usize {
    // A key with its entry in the table.
    const ENTRY: usize = 96;
    key.len() + value.as_ref().map_or(0, |(value, _)| value.len()) + ENTRY
}

struct Cached {
    value: Value,
    /// The ticket that wrote it; what is committed may be forgotten.
    version: i64,
}

/// The place of a run of calls in the plugin's order.
pub(crate) struct Ticket {
    space: Arc<StateSpace>,
    generation: u64,
    base_version: i64,
    settled: bool,
}

/// Whether a ticket can be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It follows on what is committed after this many others.
    After(i64),
    /// It is void.
    Void,
}

impl StateSpace {
    pub(crate) fn new(
        plugin: PluginId,
        store: Store,
        runtime: Handle,
        cache_bytes: usize,
        voided: Arc<Notify>,
    ) -> Self {
        Self {
            plugin,
            store,
            runtime,
            shared: Mutex::default(),
            cache_bytes,
            quota_bytes: AtomicU64::new(u64::MAX),
            voided,
        }
    }

    /// Sets what keys and values may take in all, in bytes.
    pub(crate) fn set_quota_bytes(&self, bytes: u64) {
        self.quota_bytes.store(bytes, Ordering::Release);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value as the runs before this one left it. Called on a worker's thread only: it
    /// may wait for the store.
    fn read(&self, key: &str, generation: u64) -> Result<Value, StateUnavailable> {
        {
            let shared = self.lock();
            if let Some(cached) = shared
                .values
                .get(key)
                .filter(|_| shared.generation == generation)
            {
                return Ok(cached.value.clone());
            }
        }
        let stored = self
            .runtime
            .block_on(self.store.state_value(self.plugin, key))
            .map_err(|error| StateUnavailable(error.to_string()))?
            .value;
        let mut shared = self.lock();
        // What a void run reads may be older than what is being committed now.
        if shared.generation == generation {
            let version = shared.committed_version;
            shared.insert(key, stored.clone(), version);
            shared.evict(self.cache_bytes);
        }
        Ok(stored)
    }

    /// Where the next run starts.
    fn base(&self) -> Result<Base, StateUnavailable> {
        {
            let shared = self.lock();
            if let (Some(version), Some(total_bytes)) = (shared.next_version, shared.total_bytes) {
                return Ok(Base {
                    generation: shared.generation,
                    version,
                    total_bytes,
                });
            }
        }
        let (version, total_bytes) = self
            .runtime
            .block_on(async {
                let version = self.store.state_version(self.plugin).await?;
                Ok::<_, StoreError>((version, self.store.state_bytes(self.plugin).await?))
            })
            .map_err(|error| StateUnavailable(error.to_string()))?;
        let mut shared = self.lock();
        // Values that were read while the version was not known may be older than it.
        shared.clear();
        shared.committed_version = version;
        shared.next_version = Some(version);
        shared.total_bytes = Some(total_bytes);
        Ok(Base {
            generation: shared.generation,
            version,
            total_bytes,
        })
    }

    /// What the store holds, if nothing is on its way there: values may have been swept since it
    /// was last asked.
    fn swept_total(&self, base_version: i64) -> Result<Option<u64>, StateUnavailable> {
        if self.lock().committed_version != base_version {
            return Ok(None);
        }
        self.runtime
            .block_on(self.store.state_bytes(self.plugin))
            .map(Some)
            .map_err(|error| StateUnavailable(error.to_string()))
    }

    /// Takes over what a run wrote; answers nothing if the run has become void meanwhile.
    fn take_over(
        self: &Arc<Self>,
        generation: u64,
        base_version: i64,
        total_bytes: u64,
        writes: &HashMap<String, Value>,
    ) -> Option<Ticket> {
        let mut shared = self.lock();
        // Two runs may overlap while a version gives way to another that runs on other threads:
        // the later one has computed from what is not the latest.
        if shared.generation != generation || shared.next_version != Some(base_version) {
            return None;
        }
        shared.total_bytes = Some(total_bytes);
        for (key, value) in writes {
            shared.insert(key, value.clone(), base_version + 1);
        }
        shared.next_version = Some(base_version + 1);
        shared.evict(self.cache_bytes);
        Some(Ticket {
            space: Arc::clone(self),
            generation,
            base_version,
            settled: false,
        })
    }

    fn void(&self) {
        let mut shared = self.lock();
        shared.generation += 1;
        shared.next_version = None;
        shared.total_bytes = None;
        shared.clear();
        drop(shared);
        self.voided.notify_one();
    }
}

impl Ticket {
    pub(crate) fn plugin(&self) -> PluginId {
        self.space.plugin
    }

    pub(crate) fn standing(&self) -> Standing {
        let shared = self.space.lock();
        if shared.generation == self.generation {
            Standing::After(self.base_version - shared.committed_version)
        } else {
            Standing::Void
        }
    }

    /// The store holds what this ticket stands for.
    pub(crate) fn committed(mut self) {
        self.settled = true;
        let mut shared = self.space.lock();
        if shared.generation == self.generation {
            shared.committed_version = shared.committed_version.max(self.base_version + 1);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled && self.standing() != Standing::Void {
            self.space.void();
        }
    }
}

/// What a run of calls starts from.
#[derive(Clone, Copy)]
struct Base {
    generation: u64,
    version: i64,
    total_bytes: u64,
}

/// The state as one run of calls sees it.
pub(crate) struct RunState {
    space: Arc<StateSpace>,
    run: Arc<Mutex<Run>>,
}

struct Run {
    generation: u64,
    base_version: i64,
    touched: bool,
    /// What finished calls wrote.
    writes: HashMap<String, Value>,
    written_bytes: usize,
    /// What the whole state takes after the finished calls, in bytes.
    total_bytes: u64,
    /// What the call at hand wrote.
    call: HashMap<String, Value>,
    /// What the whole state takes after the call at hand, in bytes.
    call_total_bytes: u64,
    /// The time of the call at hand, milliseconds since 1970.
    now_ms: i64,
}

impl RunState {
    /// Begins a run.
    pub(crate) fn begin(space: &Arc<StateSpace>) -> Result<Self, StateUnavailable> {
        let base = space.base()?;
        let run = Run {
            generation: base.generation,
            base_version: base.version,
            touched: false,
            writes: HashMap::new(),
            written_bytes: 0,
            total_bytes: base.total_bytes,
            call: HashMap::new(),
            call_total_bytes: base.total_bytes,
            now_ms: 0,
        };
        Ok(Self {
            space: Arc::clone(space),
            run: Arc::new(Mutex::new(run)),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a call gets to see.
    pub(crate) fn for_call(&self, now_ms: i64) -> Box<dyn State> {
        self.lock().now_ms = now_ms;
        Box::new(Self {
            space: Arc::clone(&self.space),
            run: Arc::clone(&self.run),
        })
    }

    /// The call succeeded: later calls see what it wrote.
    pub(crate) fn keep_call(&self) {
        let mut run = self.lock();
        let call = std::mem::take(&mut run.call);
        run.written_bytes += call
            .iter()
            .map(|(key, value)| size_bytes(key, value))
            .sum::<usize>();
        run.total_bytes = run.call_total_bytes;
        run.writes.extend(call);
    }

    /// The call failed: what it wrote is gone.
    pub(crate) fn drop_call(&self) {
        let mut run = self.lock();
        run.call.clear();
        run.call_total_bytes = run.total_bytes;
    }

    /// What the calls of the run have written so far, in bytes, about; a key counts each time.
    pub(crate) fn written_bytes(&self) -> usize {
        self.lock().written_bytes
    }

    /// Ends the run. `None`: it never touched the state. `Some(None)`: it is void.
    pub(crate) fn finish(&self) -> Option<Option<(StateWrites, Ticket)>> {
        let mut run = self.lock();
        if !run.touched {
            return None;
        }
        let writes = std::mem::take(&mut run.writes);
        let ticket =
            self.space
                .take_over(run.generation, run.base_version, run.total_bytes, &writes);
        let base_version = run.base_version;
        let plugin = self.space.plugin;
        Some(ticket.map(|ticket| {
            let writes = writes
                .into_iter()
                .map(|(key, value)| {
                    let (value, expires_at_ms) =
                        value.map_or((None, None), |(value, expires)| (Some(value), expires));
                    StateWrite {
                        key,
                        value,
                        expires_at_ms,
                    }
                })
                .collect();
            (
                StateWrites {
                    plugin,
                    base_version,
                    writes,
                },
                ticket,
            )
        }))
    }
}

impl RunState {
    /// The value as this call sees it, unless it is hidden, and the call's time.
    fn look_up(&self, key: &str) -> Result<(Value, i64), StateUnavailable> {
        let (value, now_ms) = self.present(key)?;
        Ok((
            value.filter(|(_, expires)| expires.is_none_or(|at| at > now_ms)),
            now_ms,
        ))
    }

    /// The value as this call sees it, hidden or not, and the call's time.
    fn present(&self, key: &str) -> Result<(Value, i64), StateUnavailable> {
        let (own, now_ms, generation) = {
            let mut run = self.lock();
            run.touched = true;
            (
                run.call.get(key).or_else(|| run.writes.get(key)).cloned(),
                run.now_ms,
                run.generation,
            )
        };
        let value = match own {
            Some(value) => value,
            None => self.space.read(key, generation)?,
        };
        Ok((value, now_ms))
    }

    /// Puts a value, or nothing, in the place of what is there; answers whether it fits.
    fn put(&self, key: &str, value: Value) -> Result<bool, StateUnavailable> {
        let old_bytes = quota_bytes(key, &self.present(key)?.0);
        let new_bytes = quota_bytes(key, &value);
        let quota = self.space.quota_bytes.load(Ordering::Acquire);
        let (before, base_version) = {
            let run = self.lock();
            (run.call_total_bytes, run.base_version)
        };
        let mut after = before.saturating_sub(old_bytes).saturating_add(new_bytes);
        if after > quota && new_bytes > old_bytes {
            let Some(swept) = self.space.swept_total(base_version)? else {
                return Ok(false);
            };
            let mut run = self.lock();
            let gone = run.total_bytes.saturating_sub(swept);
            if !run.writes.is_empty() || gone == 0 {
                return Ok(false);
            }
            run.total_bytes -= gone;
            run.call_total_bytes = run.call_total_bytes.saturating_sub(gone);
            after = after.saturating_sub(gone);
            if after > quota {
                return Ok(false);
            }
        }
        let mut run = self.lock();
        run.call.insert(key.to_owned(), value);
        run.call_total_bytes = after;
        Ok(true)
    }
}

impl State for RunState {
    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, StateUnavailable> {
        Ok(self.look_up(key)?.0.map(|(value, _)| value))
    }

    fn remaining_ms(&mut self, key: &str) -> Result<Option<u64>, StateUnavailable> {
        let (value, now_ms) = self.look_up(key)?;
        let expires = value.and_then(|(_, expires)| expires);
        Ok(expires.map(|at| at.saturating_sub(now_ms).max(0).unsigned_abs()))
    }

    fn set(
        &mut self,
        key: &str,
        value: Vec<u8>,
        time_to_live_ms: Option<u64>,
    ) -> Result<bool, StateUnavailable> {
        let expires = time_to_live_ms.map(|ms| self.lock().now_ms.saturating_add_unsigned(ms));
        self.put(key, Some((value, expires)))
    }

    fn delete(&mut self, key: &str) -> Result<(), StateUnavailable> {
        // What makes room always fits.
        self.put(key, None).map(drop)
    }
}
