//! A stretch of the log handled again, past what was decided: to see what would be different, or to
//! send what was not.

mod applying;
mod comparing;
mod work;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tokio::runtime::Handle;

use super::model::{
    OperationError, Operator, ReplayEffects, ReplayRequest, ReplayState, ReplayStatus,
};
use super::{Done, Operations, Running};
use crate::handler::Handler;
use crate::scratch::Scratch;

/// Replays that are remembered.
const REMEMBERED: usize = 100;

/// A replay that runs, or has run.
pub(super) struct Replay {
    status: Arc<Mutex<ReplayStatus>>,
    cancelled: Arc<AtomicBool>,
}

/// What one replay works with.
struct Work {
    operations: Operations,
    running: Running,
    /// What ran when the replay began.
    began_with: Arc<Handler>,
    request: ReplayRequest,
    scratch: Option<Arc<Scratch>>,
    status: Arc<Mutex<ReplayStatus>>,
    cancelled: Arc<AtomicBool>,
}

impl Operations {
    /// Begins a replay; answers its number.
    ///
    /// # Errors
    /// When the plugin does not run, the times make no sense, or another replay of it runs.
    pub async fn replay(&self, name: &str, request: ReplayRequest, by: &Operator) -> Done<u64> {
        let done = self.begin_replay(name, request);
        let detail = json!({
            "fromMs": request.from_ms, "toMs": request.to_ms,
            "dryRun": request.effects == ReplayEffects::Compare,
            "withState": request.state == ReplayState::Write,
            "id": done.as_ref().ok(),
        });
        self.audit_record(by, "replay", Some(name), detail, &done)
            .await;
        done
    }

    fn begin_replay(&self, name: &str, request: ReplayRequest) -> Done<u64> {
        if request.from_ms >= request.to_ms {
            return Err(OperationError::Invalid(
                "`from` must lie before `to`: a replay handles the events that were logged from the one up to the other"
                    .to_owned(),
            ));
        }
        if request.effects == ReplayEffects::Compare && request.state == ReplayState::Write {
            return Err(OperationError::Invalid(
                "a dry run changes nothing, so it cannot write plugin state; leave one of the two out"
                    .to_owned(),
            ));
        }
        let running = self.running()?;
        let slot = self.slot(name)?;
        let handler = self.running_handler(name)?;
        let plugin = slot
            .plugin
            .map_err(|reason| OperationError::Conflict(format!("{name} does not run: {reason}")))?;
        let mut replays = self
            .inner
            .replays
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let busy = replays.values().any(|replay| {
            let status = replay.look();
            status.plugin == name && status.state == "running"
        });
        if busy {
            return Err(OperationError::Conflict(format!(
                "another replay of {name} is running; wait for it, or cancel it"
            )));
        }
        let id = self.inner.last_replay.fetch_add(1, Ordering::Relaxed) + 1;
        let status = Arc::new(Mutex::new(ReplayStatus {
            id,
            plugin: name.to_owned(),
            version: handler.label.to_string(),
            state: "running".to_owned(),
            dry_run: request.effects == ReplayEffects::Compare,
            with_state: request.state == ReplayState::Write,
            from_ms: request.from_ms,
            to_ms: request.to_ms,
            ..ReplayStatus::default()
        }));
        let cancelled = Arc::new(AtomicBool::new(false));
        let scratch = (request.state == ReplayState::Leave && handler.state.is_some()).then(|| {
            Arc::new(Scratch::new(
                handler.id,
                self.parts.store.clone(),
                Handle::current(),
                plugin.limits().state_total_bytes,
            ))
        });
        let work = Work {
            operations: self.clone(),
            running,
            began_with: handler,
            request,
            scratch,
            status: Arc::clone(&status),
            cancelled: Arc::clone(&cancelled),
        };
        while replays.len() >= REMEMBERED {
            replays.pop_first();
        }
        replays.insert(id, Replay { status, cancelled });
        tokio::spawn(work.run());
        Ok(id)
    }

    /// How a replay stands.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn replay_status(&self, id: u64) -> Done<ReplayStatus> {
        self.with_replay(id, Replay::look)
    }

    /// Ends a replay after the events that it is handling. What it has sent stays sent.
    ///
    /// # Errors
    /// When there is none with this number.
    pub fn cancel_replay(&self, id: u64) -> Done<ReplayStatus> {
        self.with_replay(id, |replay| {
            replay.cancelled.store(true, Ordering::Release);
            replay.look()
        })
    }

    pub(super) fn cancel_all_replays(&self) {
        let replays = self
            .inner
            .replays
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for replay in replays.values() {
            replay.cancelled.store(true, Ordering::Release);
        }
    }

    fn with_replay<T>(&self, id: u64, look: impl FnOnce(&Replay) -> T) -> Done<T> {
        let replays = self
            .inner
            .replays
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        replays.get(&id).map(look).ok_or_else(|| {
            OperationError::NotFound(format!(
                "there is no replay {id}; the last {REMEMBERED} of this process are remembered"
            ))
        })
    }
}

impl Replay {
    fn look(&self) -> ReplayStatus {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
