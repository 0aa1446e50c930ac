//! Dead letters: look, handle again, throw away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use carillon_bus::{LogRecord, PartitionId};
use carillon_sandbox::Egress;
use carillon_store::{
    DeadLetterFilter, DeadLetterRow, PluginId, Share, StoredDeadLetter, VersionId,
};
use serde_json::json;

use super::model::{DeadLetterQuery, DeadLetterView, LetterReplayed, OperationError, Operator};
use super::{Done, Operations, Running, unavailable};
use crate::batch::{Batch, Decoded};
use crate::handler::{Handler, Role};
use crate::plan::{Failure, Plan, Purpose};

/// The most letters of one answer, and of one replay.
const MOST_LETTERS: u32 = 1_000;
/// How the lane of what cannot be decoded is called.
const INTAKE: &str = "intake";
/// A letter whose plugin changed meanwhile, or its state, is run again this often.
const TRIES: u32 = 5;
const AGAIN: Duration = Duration::from_millis(100);

impl Operations {
    /// Dead letters, newest first; `after` is the last one seen.
    ///
    /// # Errors
    /// When the plugin is not known, or the store fails.
    pub async fn dead_letters(
        &self,
        query: &DeadLetterQuery,
        after: Option<i64>,
        limit: u32,
    ) -> Done<Vec<DeadLetterView>> {
        let filter = self.filter(query).await?;
        let letters = self
            .parts
            .store
            .dead_letters(
                &filter,
                after.map(DeadLetterRow),
                limit.clamp(1, MOST_LETTERS),
            )
            .await
            .map_err(unavailable)?;
        Ok(letters.iter().map(view).collect())
    }

    /// One dead letter, with its record.
    ///
    /// # Errors
    /// When there is none with this number, or the store fails.
    pub async fn dead_letter(&self, id: i64) -> Done<DeadLetterView> {
        let letters = self.letters(&[id]).await?;
        let letter = letters
            .first()
            .ok_or_else(|| OperationError::NotFound(format!("there is no dead letter {id}")))?;
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let headers: BTreeMap<String, String> = letter
            .letter
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect();
        Ok(DeadLetterView {
            value: letter.letter.value.as_ref().map(text),
            headers: Some(headers),
            ..view(letter)
        })
    }

    /// Handles dead letters again, by the plugin that they are of, or by `plugin`. What is handled
    /// takes effect, replaces the decision, and is no dead letter any more.
    ///
    /// # Errors
    /// When a letter or the plugin does not exist, or the host is not running.
    pub async fn replay_dead_letters(
        &self,
        ids: &[i64],
        plugin: Option<&str>,
        by: &Operator,
    ) -> Done<Vec<LetterReplayed>> {
        let (operations, by) = (self.clone(), by.clone());
        let (ids, plugin) = (ids.to_vec(), plugin.map(str::to_owned));
        self.to_the_end(async move {
            let plugin = plugin.as_deref();
            let done = operations.handle_letters(&ids, plugin).await;
            let detail = json!({ "ids": ids });
            operations
                .audit_record(&by, "dead-letters replay", plugin, detail, &done)
                .await;
            done
        })
        .await
    }

    async fn handle_letters(&self, ids: &[i64], plugin: Option<&str>) -> Done<Vec<LetterReplayed>> {
        if ids.is_empty() || ids.len() > MOST_LETTERS as usize {
            return Err(OperationError::Invalid(format!(
                "a replay takes 1 to {MOST_LETTERS} dead letters, not {}",
                ids.len()
            )));
        }
        let running = self.running()?;
        // Whoever asked first has settled them when the next one looks.
        let _one_at_a_time = self.inner.handling_letters.lock().await;
        let letters = self.letters(ids).await?;
        if let Some(missing) = ids
            .iter()
            .find(|id| !letters.iter().any(|letter| letter.row.0 == **id))
        {
            return Err(OperationError::NotFound(format!(
                "there is no dead letter {missing}; it may have been replayed or purged already"
            )));
        }
        let mut outcomes = Vec::new();
        // In the order of the log, as far as there is one.
        let mut letters = letters;
        letters.sort_by_key(|letter| {
            let source = letter.letter.source;
            (source.log.0, source.partition, source.offset)
        });
        for letter in &letters {
            outcomes.extend(self.handle_letter(&running, letter, plugin).await?);
        }
        Ok(outcomes)
    }

    async fn handle_letter(
        &self,
        running: &Running,
        letter: &StoredDeadLetter,
        plugin: Option<&str>,
    ) -> Done<Vec<LetterReplayed>> {
        let batch = Arc::new(batch_of(letter));
        let replayed = |plugin: &str, outcome: &str, detail: String| LetterReplayed {
            id: letter.row.0,
            plugin: plugin.to_owned(),
            outcome: outcome.to_owned(),
            detail,
        };
        let decoded = match batch.items.first().map(|item| &item.content) {
            Some(Ok(decoded)) => decoded,
            Some(Err(error)) => {
                let reason = error.to_string();
                self.still_dead(letter, VersionId(0), error.code(), &reason)
                    .await?;
                return Ok(vec![replayed(INTAKE, "failed", reason)]);
            }
            None => return Ok(Vec::new()),
        };
        let own = letter.letter.plugin;
        let handlers: Vec<Arc<Handler>> = match plugin {
            Some(name) => vec![self.running_handler(name)?],
            None if own == PluginId::NONE => self.yet_to_hear(running, decoded).await?,
            None => vec![self.running_handler(&letter.plugin_name)?],
        };
        let mut outcomes = Vec::new();
        for handler in &handlers {
            let settles = handler.id == own;
            outcomes.push(
                match self
                    .handle_again(running, &batch, handler, settles.then_some(letter.row))
                    .await?
                {
                    Ok(notifications) => replayed(
                        &handler.name,
                        "handled",
                        match notifications {
                            1 => "1 notification came of it".to_owned(),
                            n => format!("{n} notifications came of it"),
                        },
                    ),
                    Err(failure) => {
                        if settles {
                            self.still_dead(letter, handler.version, failure.code, &failure.reason)
                                .await?;
                        }
                        replayed(&handler.name, "failed", failure.reason)
                    }
                },
            );
        }
        // What was no event is one now; whoever wants it has handled it.
        if own == PluginId::NONE
            && plugin.is_none()
            && outcomes.iter().all(|outcome| outcome.outcome == "handled")
        {
            let mut share = Share::without_cursor();
            share.settled = vec![letter.row];
            self.write_share(running, share).await?;
        }
        Ok(outcomes)
    }

    /// Who is to hear of what is an event now: who subscribes, and has not decided on it.
    async fn yet_to_hear(&self, running: &Running, decoded: &Decoded) -> Done<Vec<Arc<Handler>>> {
        let decisions = self
            .parts
            .store
            .decisions_of(decoded.key)
            .await
            .map_err(unavailable)?;
        let loaded = running.context.plugins.loaded();
        let subscribers = loaded.subscribers(&decoded.event.kind);
        let open = subscribers.iter().filter(|handler| {
            !matches!(handler.role, Role::Shadow(_))
                && !decisions
                    .iter()
                    .any(|decision| decision.plugin == handler.id)
        });
        Ok(open.cloned().collect())
    }

    /// Runs the one event of a batch; the answer takes effect.
    async fn handle_again(
        &self,
        running: &Running,
        batch: &Arc<Batch>,
        handler: &Arc<Handler>,
        settles: Option<DeadLetterRow>,
    ) -> Done<Result<usize, Failure>> {
        for _ in 0..TRIES {
            // Another version may have taken its place since.
            let handler = &self.running_handler(&handler.name)?;
            let purpose = Purpose::Again {
                egress: Egress::Open,
                scratch: None,
            };
            let plan = Plan::again(handler, batch, purpose);
            if plan.is_empty() {
                return Ok(Err(Failure {
                    code: "not-subscribed",
                    reason: format!("{} does not subscribe to its kind", handler.name),
                }));
            }
            let workers = running.context.workers_for(handler);
            let Ok(result) = plan.start(workers).result.await else {
                return Ok(Err(Failure {
                    code: "panic",
                    reason: "the host panicked while it ran the plugin".to_owned(),
                }));
            };
            if let Some((_, failure)) = result.failures.into_iter().next() {
                return Ok(Err(failure));
            }
            if let Some(stop) = result.stop {
                tracing::debug!(?stop, "a dead letter is run again");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            let notifications = result.effects.len();
            let mut share = Share::without_cursor();
            share.decisions = result.decisions;
            share.effects = result
                .effects
                .into_iter()
                .map(|(_, effect)| effect)
                .collect();
            share.settled = settles.into_iter().collect();
            let (state, tickets) = result.state.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
            share.state = state;
            match running.context.committer.commit(share, tickets).await {
                Some(Ok(())) => return Ok(Ok(notifications)),
                Some(Err(failed))
                    if matches!(failed.error, carillon_store::ShareError::StateConflict) => {}
                Some(Err(failed)) => {
                    return Ok(Err(Failure {
                        code: "store",
                        reason: failed.error.to_string(),
                    }));
                }
                None => {
                    return Err(OperationError::Unavailable(
                        "the host is stopping".to_owned(),
                    ));
                }
            }
        }
        Ok(Err(Failure {
            code: "busy",
            reason: format!(
                "it could not be run in {TRIES} tries: its state or its version changed meanwhile; try again"
            ),
        }))
    }

    async fn write_share(&self, running: &Running, share: Share) -> Done<()> {
        match running.context.committer.commit(share, Vec::new()).await {
            Some(Ok(())) => Ok(()),
            Some(Err(failed)) => Err(OperationError::Unavailable(failed.error.to_string())),
            None => Err(OperationError::Unavailable(
                "the host is stopping".to_owned(),
            )),
        }
    }

    pub(super) fn running_handler(&self, name: &str) -> Done<Arc<Handler>> {
        let direct = name == crate::direct::NAME;
        let loaded = self.parts.table.loaded();
        let found = loaded
            .handlers
            .values()
            .find(|handler| &*handler.name == name)
            .cloned();
        match found {
            Some(handler) => Ok(handler),
            None if direct => Err(OperationError::Unavailable(
                "the host is not running yet".to_owned(),
            )),
            None => {
                let slot = self.slot(name)?;
                let reason = slot.plugin.err().unwrap_or_default();
                Err(OperationError::Conflict(format!(
                    "{name} does not run: {reason}"
                )))
            }
        }
    }

    async fn still_dead(
        &self,
        letter: &StoredDeadLetter,
        version: VersionId,
        code: &str,
        reason: &str,
    ) -> Done<()> {
        self.parts
            .store
            .dead_letter_failed_again(
                letter.row,
                version,
                code,
                reason,
                letter.letter.attempts.saturating_add(1),
            )
            .await
            .map(drop)
            .map_err(unavailable)
    }

    /// Throws dead letters away: those with these numbers, or all that the query names.
    ///
    /// # Errors
    /// When neither numbers nor a filter are given, or the store fails.
    pub async fn purge_dead_letters(
        &self,
        ids: &[i64],
        query: &DeadLetterQuery,
        by: &Operator,
    ) -> Done<u64> {
        let _one_at_a_time = self.inner.handling_letters.lock().await;
        let done = self.throw_away(ids, query).await;
        let detail = json!({
            "ids": ids, "plugin": query.plugin, "code": query.code, "topic": query.topic,
            "purged": done.as_ref().ok(),
        });
        self.audit_record(
            by,
            "dead-letters purge",
            query.plugin.as_deref(),
            detail,
            &done,
        )
        .await;
        done
    }

    async fn throw_away(&self, ids: &[i64], query: &DeadLetterQuery) -> Done<u64> {
        if !ids.is_empty() {
            let rows: Vec<DeadLetterRow> = ids.iter().copied().map(DeadLetterRow).collect();
            return self
                .parts
                .store
                .purge_dead_letters(&rows)
                .await
                .map_err(unavailable);
        }
        if *query == DeadLetterQuery::default() {
            return Err(OperationError::Invalid(
                "say which dead letters are to be thrown away: by their numbers, or by plugin, code or topic"
                    .to_owned(),
            ));
        }
        let filter = self.filter(query).await?;
        self.parts
            .store
            .purge_dead_letters_where(&filter)
            .await
            .map_err(unavailable)
    }

    async fn letters(&self, ids: &[i64]) -> Done<Vec<StoredDeadLetter>> {
        let rows: Vec<DeadLetterRow> = ids.iter().copied().map(DeadLetterRow).collect();
        self.parts
            .store
            .dead_letters_by_row(&rows)
            .await
            .map_err(unavailable)
    }

    async fn filter(&self, query: &DeadLetterQuery) -> Done<DeadLetterFilter> {
        let plugin = match query.plugin.as_deref() {
            None => None,
            Some(INTAKE) => Some(PluginId::NONE),
            // Also of one that is not installed any more.
            Some(name) => Some(
                self.parts
                    .store
                    .plugin_by_name(name)
                    .await
                    .map_err(unavailable)?
                    .ok_or_else(|| {
                        OperationError::NotFound(format!("no plugin was ever called {name:?}"))
                    })?,
            ),
        };
        Ok(DeadLetterFilter {
            plugin,
            code: query.code.clone(),
            topic: query.topic.clone(),
        })
    }
}

fn batch_of(letter: &StoredDeadLetter) -> Batch {
    let source = letter.letter.source;
    let record = LogRecord {
        offset: source.offset,
        timestamp_ms: source.logged_at_ms,
        key: letter.letter.key.clone(),
        value: letter.letter.value.clone(),
        headers: letter.letter.headers.clone(),
    };
    let partition = PartitionId {
        topic: letter.topic.as_str().into(),
        partition: source.partition,
    };
    Batch::decode(partition, source.log, source.offset, vec![record])
}

fn view(letter: &StoredDeadLetter) -> DeadLetterView {
    let source = letter.letter.source;
    DeadLetterView {
        id: letter.row.0,
        plugin: letter.plugin_name.to_string(),
        version: letter.plugin_version.clone(),
        topic: letter.topic.clone(),
        partition: source.partition,
        offset: source.offset,
        event_id: letter.letter.event_id.clone(),
        code: letter.letter.code.clone(),
        reason: letter.letter.reason.clone(),
        attempts: letter.letter.attempts,
        logged_ms: source.logged_at_ms,
        created_ms: letter.created_ms,
        key: letter
            .letter
            .key
            .as_ref()
            .map(|key| String::from_utf8_lossy(key).into_owned()),
        value: None,
        headers: None,
    }
}
