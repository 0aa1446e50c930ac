//! Why somebody was told, and why nobody was.

use std::time::Duration;

use carillon_bus::{LogRecord, PartitionId};
use carillon_store::{
    DecisionRecord, LogId, NotificationId, NotificationRecord, Outcome, RunState, StoredDeadLetter,
    event_key,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::model::{Explanation, OperationError, PluginStory};
use super::{Done, Operations, Running, unavailable};
use crate::batch::{Batch, Decoded};
use crate::handler::{Handler, Role};

/// An event that the store does not know is looked for in this many of the newest records of each
/// partition, and before that in those around its time where its id tells it …
const LOOKED_AT: i64 = 20_000;
const AROUND_BEFORE_MS: i64 = 60_000;
const AROUND_AFTER_MS: i64 = 600_000;
/// … and for no longer than this.
const LOOK_PATIENCE: Duration = Duration::from_secs(20);
/// Records, and about the bytes, of one turn of reading.
const TURN: usize = 1_000;
const TURN_BYTES: usize = 1 << 20;
/// What a record's value is cut to, in bytes, where it is shown.
const SHOWN_BYTES: usize = 16 << 10;

/// Where a record lies.
#[derive(Clone)]
struct Spot {
    log: LogId,
    partition: PartitionId,
    offset: i64,
}

impl Operations {
    /// The story of a notification or an event by its id, or of a record by
    /// `topic/partition/offset`.
    ///
    /// # Errors
    /// When nothing is known by that name, or the store fails.
    pub async fn explain(&self, id: &str) -> Done<Explanation> {
        if let Some((topic, partition, offset)) = position(id) {
            return self.explain_position(id, topic, partition, offset).await;
        }
        if let Ok(notification) = id.parse::<NotificationId>() {
            let found = self
                .inner
                .store
                .notification(notification)
                .await
                .map_err(unavailable)?;
            if let Some(found) = found {
                return self.explain_notification(id, found).await;
            }
        }
        self.explain_event(id).await
    }

    async fn explain_notification(
        &self,
        id: &str,
        notification: NotificationRecord,
    ) -> Done<Explanation> {
        let spot = Spot {
            log: notification.log,
            partition: PartitionId {
                topic: notification.topic.as_str().into(),
                partition: notification.partition,
            },
            offset: notification.offset,
        };
        let record = self.record(&spot).await;
        let event_id = notification.event_id.clone();
        let decisions = self.decisions(&event_id).await?;
        let mut story = vec![format!(
            "event {event_id} ({}) was logged {} at {} offset {}",
            notification.kind,
            time(notification.created_ms),
            spot.partition,
            spot.offset
        )];
        if let Some(correlation) = &notification.correlation_id {
            story.push(format!("it came from the request {correlation}"));
        }
        story.push(record_line(&record));
        let decision = decisions
            .iter()
            .find(|decision| decision.plugin == notification.plugin);
        story.push(match decision {
            Some(decision) => decided(decision),
            None => format!(
                "plugin {} {} decided on it; the decision itself is older than the store remembers",
                notification.plugin_name, notification.version
            ),
        });
        if let Some(line) = self.loaded_line(&notification).await? {
            story.push(line);
        }
        story.extend(shown(&notification));
        Ok(Explanation {
            id: id.to_owned(),
            subject: "notification".to_owned(),
            story,
            record: record
                .ok()
                .as_ref()
                .map(|record| record_json(&spot, record)),
            plugins: decisions.iter().map(story_of).collect(),
            notifications: vec![json(&notification)],
        })
    }

    async fn explain_position(
        &self,
        id: &str,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Done<Explanation> {
        let running = self.running()?;
        let log = self
            .inner
            .store
            .log_by_topic(&running.cluster_id, topic)
            .await
            .map_err(unavailable)?
            .ok_or_else(|| {
                OperationError::NotFound(format!("no topic {topic:?} was ever read here"))
            })?;
        let spot = Spot {
            log,
            partition: PartitionId {
                topic: topic.into(),
                partition,
            },
            offset,
        };
        let record = self.record(&spot).await.map_err(OperationError::NotFound)?;
        self.explain_record(id, &spot, record).await
    }

    async fn explain_event(&self, id: &str) -> Done<Explanation> {
        let decisions = self.decisions(id).await?;
        let letters = self
            .inner
            .store
            .dead_letters_of_event(id)
            .await
            .map_err(unavailable)?;
        let spot = decisions
            .first()
            .map(|decision| Spot {
                log: decision.log,
                partition: PartitionId {
                    topic: decision.topic.as_str().into(),
                    partition: decision.partition,
                },
                offset: decision.offset,
            })
            .or_else(|| {
                letters.first().map(|letter| Spot {
                    log: letter.letter.source.log,
                    partition: PartitionId {
                        topic: letter.topic.as_str().into(),
                        partition: letter.letter.source.partition,
                    },
                    offset: letter.letter.source.offset,
                })
            });
        let Some(spot) = spot else {
            let (spot, record) = self.find(id).await?;
            return self.explain_record(id, &spot, record).await;
        };
        match self.record(&spot).await {
            Ok(record) => self.explain_record(id, &spot, record).await,
            Err(gone) => {
                let mut plugins: Vec<PluginStory> = decisions.iter().map(story_of).collect();
                plugins.extend(letters.iter().map(letter_story));
                let notifications = self.notifications(&spot).await?;
                Ok(Explanation {
                    id: id.to_owned(),
                    subject: "event".to_owned(),
                    story: vec![
                        format!(
                            "event {id} stood at {} offset {}",
                            spot.partition, spot.offset
                        ),
                        gone,
                    ],
                    record: None,
                    plugins,
                    notifications: notifications.iter().map(json).collect(),
                })
            }
        }
    }

    async fn explain_record(&self, id: &str, spot: &Spot, record: LogRecord) -> Done<Explanation> {
        let shown_record = record_json(spot, &record);
        let logged_ms = record.timestamp_ms;
        let batch = Batch::decode(spot.partition.clone(), spot.log, spot.offset, vec![record]);
        let mut story = vec![format!(
            "logged {} at {} offset {}",
            time(logged_ms),
            spot.partition,
            spot.offset
        )];
        let (plugins, notifications) = match batch.items.first().map(|item| &item.content) {
            Some(Ok(decoded)) => {
                let event = &decoded.event;
                story.push(format!("it is the event {} ({})", event.id, event.kind));
                if let Some(correlation) = &event.correlation_id {
                    story.push(format!("it came from the request {correlation}"));
                }
                let plugins = self.plugin_stories(spot, decoded).await?;
                let notifications = self.notifications(spot).await?;
                if notifications.is_empty() {
                    story.push("nobody was told; why stands with each plugin".to_owned());
                }
                for notification in &notifications {
                    story.extend(shown(notification));
                }
                (plugins, notifications)
            }
            Some(Err(error)) => {
                story.push(format!(
                    "it is no event, and a dead letter of intake: {error}"
                ));
                (Vec::new(), Vec::new())
            }
            None => (Vec::new(), Vec::new()),
        };
        Ok(Explanation {
            id: id.to_owned(),
            subject: if id.contains('/') { "record" } else { "event" }.to_owned(),
            story,
            record: Some(shown_record),
            plugins,
            notifications: notifications.iter().map(json).collect(),
        })
    }

    /// What each plugin did with an event, or why it did nothing.
    async fn plugin_stories(&self, spot: &Spot, decoded: &Decoded) -> Done<Vec<PluginStory>> {
        let decisions = self.decisions(&decoded.event.id).await?;
        let letters = self
            .inner
            .store
            .dead_letters_of_event(&decoded.event.id)
            .await
            .map_err(unavailable)?;
        let mut stories: Vec<PluginStory> = Vec::new();
        for decision in &decisions {
            let letter = letters
                .iter()
                .find(|letter| letter.letter.plugin == decision.plugin);
            stories.push(match letter {
                Some(letter) => letter_story(letter),
                None => story_of(decision),
            });
        }
        for letter in &letters {
            if !decisions
                .iter()
                .any(|decision| decision.plugin == letter.letter.plugin)
            {
                stories.push(letter_story(letter));
            }
        }
        let loaded = self.inner.table.loaded();
        let mut handlers: Vec<_> = loaded.handlers.values().collect();
        handlers.sort_by(|a, b| a.name.cmp(&b.name));
        for handler in handlers {
            let told = stories.iter().any(|story| story.plugin == *handler.name);
            if !told && !matches!(handler.role, Role::Shadow(_)) {
                stories.push(self.undecided(spot, decoded, handler));
            }
        }
        stories.sort_by(|a, b| a.plugin.cmp(&b.plugin));
        Ok(stories)
    }

    /// Why a plugin has decided nothing about an event.
    fn undecided(&self, spot: &Spot, decoded: &Decoded, handler: &Handler) -> PluginStory {
        let story = |outcome: &str, why: String| PluginStory {
            plugin: handler.name.to_string(),
            version: Some(handler.label.to_string()),
            sha256: None,
            outcome: outcome.to_owned(),
            why,
        };
        if !handler.wants(&decoded.event.kind) {
            let all: Vec<String> = handler
                .subscriptions
                .iter()
                .map(ToString::to_string)
                .collect();
            return story(
                "not-subscribed",
                format!(
                    "it subscribes to {} and not to {}",
                    all.join(", "),
                    decoded.event.kind
                ),
            );
        }
        let standing = self
            .inner
            .board
            .look()
            .into_iter()
            .find(|(partition, _)| *partition == spot.partition)
            .map(|(_, standing)| standing);
        let Some(standing) = standing else {
            return story(
                "not-reached",
                format!("this host does not read {} now", spot.partition),
            );
        };
        let lane = standing.away.get(&handler.id);
        let cursor = lane.map_or(standing.head, |lane| lane.cursor);
        if cursor > spot.offset {
            return story(
                "passed-over",
                format!(
                    "its lane has passed the record (it stands at {cursor}) without deciding: it was loaded later, the event repeats one that it had handled, or the decision is older than the store remembers"
                ),
            );
        }
        let behind = spot.offset - cursor;
        match (handler.plugin.gate.state(), lane) {
            (RunState::Paused { since_ms }, _) => story(
                "paused",
                format!(
                    "it is paused since {}; its lane stands {behind} records before this one",
                    time(since_ms)
                ),
            ),
            (RunState::Quarantined { reason, .. }, _) => story(
                "quarantined",
                format!(
                    "it is quarantined ({reason}); its lane stands {behind} records before this one"
                ),
            ),
            (RunState::Active, Some(lane)) if lane.stopped.is_some() => {
                story("not-reached", lane.stopped.clone().unwrap_or_default())
            }
            (RunState::Active, Some(lane)) if lane.retry.is_some() && behind == 0 => {
                let (attempts, error) = lane.retry.clone().unwrap_or_default();
                story(
                    "retrying",
                    format!("{attempts} attempts failed, the last one: {error}; it is tried again"),
                )
            }
            (RunState::Active, _) => story(
                "not-reached",
                format!("its lane stands {behind} records before this one"),
            ),
        }
    }

    /// An event that the store does not know, in the log itself.
    async fn find(&self, id: &str) -> Done<(Spot, LogRecord)> {
        let running = self.running()?;
        let heads = self
            .inner
            .store
            .head_cursors(&running.cluster_id)
            .await
            .map_err(unavailable)?;
        let deadline = Instant::now() + LOOK_PATIENCE;
        for (log, topic, partition, _) in heads {
            let partition = PartitionId {
                topic: topic.as_str().into(),
                partition,
            };
            if let Some((offset, record)) = self.find_in(&partition, id, deadline).await? {
                let spot = Spot {
                    log,
                    partition,
                    offset,
                };
                return Ok((spot, record));
            }
        }
        let over = if Instant::now() >= deadline {
            format!("; the search ended after {} s", LOOK_PATIENCE.as_secs())
        } else {
            String::new()
        };
        Err(OperationError::NotFound(format!(
            "nothing is known by {id:?}: no notification has this id, no plugin decided on such an event, and it is not among the newest {LOOKED_AT} records of each partition{over}; if you know where the record lies, ask for topic/partition/offset"
        )))
    }

    async fn find_in(
        &self,
        partition: &PartitionId,
        id: &str,
        deadline: Instant,
    ) -> Done<Option<(i64, LogRecord)>> {
        let failed = |error: String| OperationError::Unavailable(error);
        let inner = &self.inner;
        let marks = inner
            .places
            .watermarks(partition)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let newest = (marks.low.max(marks.high - LOOKED_AT), marks.high);
        let mut stretches = vec![newest];
        if let Some(ms) = time_of(id) {
            let place = async |ms: i64| {
                let found = inner.places.at_time(partition, ms, &inner.readers).await;
                found.map_err(|error| failed(error.to_string()))
            };
            let from = place(ms - AROUND_BEFORE_MS).await?;
            let to = place(ms + AROUND_AFTER_MS).await?;
            // There first: events are mostly logged when they happen.
            stretches.insert(0, (from, to.min(from + LOOKED_AT)));
        }
        for (from, to) in stretches {
            let found = self.find_between(partition, id, from, to, deadline).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn find_between(
        &self,
        partition: &PartitionId,
        id: &str,
        from: i64,
        end: i64,
        deadline: Instant,
    ) -> Done<Option<(i64, LogRecord)>> {
        let mut at = from;
        while at < end && Instant::now() < deadline {
            let stretch = self
                .inner
                .readers
                .read(partition, at, end, TURN, TURN_BYTES)
                .await
                .map_err(|error| OperationError::Unavailable(error.to_string()))?;
            for record in stretch.records {
                let value = record.value.as_deref().unwrap_or_default();
                // Decoding is dearer than looking.
                let mentioned = value
                    .windows(id.len().max(1))
                    .any(|bytes| bytes == id.as_bytes());
                if mentioned && carillon_events::decode(value).is_ok_and(|event| event.id == id) {
                    return Ok(Some((record.offset, record)));
                }
            }
            at = stretch.next;
        }
        Ok(None)
    }

    async fn decisions(&self, event_id: &str) -> Done<Vec<DecisionRecord>> {
        self.inner
            .store
            .decisions_of(event_key(event_id))
            .await
            .map_err(unavailable)
    }

    async fn notifications(&self, spot: &Spot) -> Done<Vec<NotificationRecord>> {
        self.inner
            .store
            .notifications_of_record(spot.log, spot.partition.partition, spot.offset)
            .await
            .map_err(unavailable)
    }

    /// The record itself, or why it cannot be shown.
    async fn record(&self, spot: &Spot) -> Result<LogRecord, String> {
        let Running { .. } = self.running().map_err(|error| error.to_string())?;
        let read = self
            .inner
            .readers
            .read(&spot.partition, spot.offset, spot.offset + 1, 1, TURN_BYTES)
            .await
            .map_err(|error| format!("the record cannot be read: {error}"))?;
        read.records
            .into_iter()
            .next()
            .ok_or_else(|| format!("{} has no record at offset {}", spot.partition, spot.offset))
    }

    async fn loaded_line(&self, notification: &NotificationRecord) -> Done<Option<String>> {
        let load = self
            .inner
            .store
            .load_of_version(notification.version_id)
            .await
            .map_err(unavailable)?;
        Ok(load.map(|load| {
            format!(
                "that version (SHA-256 {}) was loaded {} by {} from {}",
                load.sha256,
                time(load.at_ms),
                load.who,
                load.origin
            )
        }))
    }
}

/// `topic/partition/offset`.
fn position(text: &str) -> Option<(&str, i32, i64)> {
    let (rest, offset) = text.rsplit_once('/')?;
    let (topic, partition) = rest.rsplit_once('/')?;
    Some((topic, partition.parse().ok()?, offset.parse().ok()?))
}

/// When an event happened, where its id is a UUID of version 7.
fn time_of(id: &str) -> Option<i64> {
    let uuid = Uuid::parse_str(id).ok()?;
    let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
    (uuid.get_version_num() == 7)
        .then(|| i64::try_from(seconds * 1_000 + u64::from(nanos) / 1_000_000).ok())
        .flatten()
}

fn decided(decision: &DecisionRecord) -> String {
    let attempts = match decision.attempts {
        0 | 1 => String::new(),
        n => format!(" at attempt {n}"),
    };
    format!(
        "plugin {} {} decided on it{attempts}: {}",
        decision.plugin_name,
        decision.version,
        match (decision.outcome, decision.actions) {
            (Outcome::DeadLettered, _) => "it became a dead letter".to_owned(),
            (Outcome::Handled, 0) => "nothing is to be done".to_owned(),
            (Outcome::Handled, 1) => "1 action".to_owned(),
            (Outcome::Handled, n) => format!("{n} actions"),
        }
    )
}

fn story_of(decision: &DecisionRecord) -> PluginStory {
    let outcome = match (decision.outcome, decision.actions) {
        (Outcome::DeadLettered, _) => "dead-letter",
        (Outcome::Handled, 0) => "no-actions",
        (Outcome::Handled, _) => "handled",
    };
    PluginStory {
        plugin: decision.plugin_name.to_string(),
        version: Some(decision.version.clone()).filter(|version| !version.is_empty()),
        sha256: Some(decision.sha256.clone()).filter(|sum| !sum.is_empty()),
        outcome: outcome.to_owned(),
        why: decided(decision),
    }
}

fn letter_story(letter: &StoredDeadLetter) -> PluginStory {
    PluginStory {
        plugin: letter.plugin_name.to_string(),
        version: Some(letter.plugin_version.clone()).filter(|version| !version.is_empty()),
        sha256: None,
        outcome: "dead-letter".to_owned(),
        why: format!(
            "dead letter {}, after {} attempts: {}: {}",
            letter.row.0, letter.letter.attempts, letter.letter.code, letter.letter.reason
        ),
    }
}

fn shown(notification: &NotificationRecord) -> Vec<String> {
    let mut story = Vec::new();
    let what = if notification.withdraws {
        "withdrawal"
    } else {
        "notification"
    };
    story.push(match (notification.stream_offset, notification.visible_ms) {
        (Some(offset), Some(visible_ms)) => format!(
            "{what} {} became visible {} as number {offset} of the stream {}",
            notification.id,
            time(visible_ms),
            notification.stream
        ),
        _ if notification.hidden => format!(
            "{what} {} for {} never became visible: it had expired, or a newer one took its place",
            notification.id, notification.stream
        ),
        _ => format!(
            "{what} {} for {} waits until {}",
            notification.id,
            notification.stream,
            notification.deliver_at_ms.map_or_else(|| "its time".to_owned(), time)
        ),
    });
    if notification.hidden && notification.stream_offset.is_some() && !notification.withdraws {
        story.push(
            "it is not in the inbox any more: it was taken back, or a newer one replaced it"
                .to_owned(),
        );
    }
    story
}

fn record_line(record: &Result<LogRecord, String>) -> String {
    match record {
        Ok(record) => format!(
            "the record is still in the log ({} bytes)",
            record.size_bytes()
        ),
        Err(gone) => gone.clone(),
    }
}

fn record_json(spot: &Spot, record: &LogRecord) -> Value {
    let text = |bytes: &[u8]| {
        let cut = &bytes[..bytes.len().min(SHOWN_BYTES)];
        String::from_utf8_lossy(cut).into_owned()
    };
    let headers: serde_json::Map<String, Value> = record
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), text(value).into()))
        .collect();
    json!({
        "topic": &*spot.partition.topic, "partition": spot.partition.partition, "offset": spot.offset,
        "loggedMs": record.timestamp_ms, "key": record.key.as_deref().map(text),
        "value": record.value.as_deref().map(text), "headers": headers,
    })
}

fn json(notification: &NotificationRecord) -> Value {
    serde_json::to_value(notification).unwrap_or_default()
}

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |at| at.to_string())
}
