//! Why somebody was told, and why nobody was.

mod search;
mod undecided;
mod words;

use carillon_bus::{LogRecord, PartitionId};
use carillon_store::{DecisionRecord, LogId, NotificationId, NotificationRecord, event_key};

use super::model::{Explanation, OperationError, PluginStory};
use super::{Done, Operations, Running, unavailable};
use crate::batch::{Batch, Decoded};
use crate::handler::Role;
use words::{decided, json, letter_story, record_json, record_line, shown, story_of, time};

/// About the bytes of one record that is read.
const RECORD_BYTES: usize = 1 << 20;

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
                .parts
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
            .parts
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
            .parts
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
            .parts
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
        let loaded = self.parts.table.loaded();
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

    async fn decisions(&self, event_id: &str) -> Done<Vec<DecisionRecord>> {
        self.parts
            .store
            .decisions_of(event_key(event_id))
            .await
            .map_err(unavailable)
    }

    async fn notifications(&self, spot: &Spot) -> Done<Vec<NotificationRecord>> {
        self.parts
            .store
            .notifications_of_record(spot.log, spot.partition.partition, spot.offset)
            .await
            .map_err(unavailable)
    }

    /// The record itself, or why it cannot be shown.
    async fn record(&self, spot: &Spot) -> Result<LogRecord, String> {
        let Running { .. } = self.running().map_err(|error| error.to_string())?;
        let read = self
            .parts
            .readers
            .read(
                &spot.partition,
                spot.offset,
                spot.offset + 1,
                1,
                RECORD_BYTES,
            )
            .await
            .map_err(|error| format!("the record cannot be read: {error}"))?;
        read.records
            .into_iter()
            .next()
            .ok_or_else(|| format!("{} has no record at offset {}", spot.partition, spot.offset))
    }

    async fn loaded_line(&self, notification: &NotificationRecord) -> Done<Option<String>> {
        let load = self
            .parts
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
