//! What a replay finds otherwise than it was sent.

use std::collections::{BTreeMap, HashMap};

use carillon_store::{Effect, NewNotification, NotificationRecord};
use serde_json::{Value, json};

use super::Work;
use super::work::KEPT;
use crate::batch::Batch;
use crate::operations::model::ReplayDifference;
use crate::plan::RunResult;

/// What was sent, by id.
pub(super) type Sent = BTreeMap<String, NotificationRecord>;

impl Work {
    /// Counts what is different between two offsets, and keeps the first of it.
    pub(super) fn compare(
        &self,
        batch: &Batch,
        from: i64,
        to: i64,
        result: &RunResult,
        sent: &Sent,
    ) {
        let failed: Vec<i64> = result
            .failures
            .iter()
            .map(|(index, _)| batch.items[*index].record.offset)
            .collect();
        let compared = |offset: i64| (from..to).contains(&offset) && !failed.contains(&offset);
        let sent: BTreeMap<&String, &NotificationRecord> = sent
            .iter()
            .filter(|(_, old)| compared(old.offset))
            .collect();
        let mut now: HashMap<String, &NewNotification> = HashMap::new();
        for (_, effect) in &result.effects {
            if let Effect::Notify(new) = effect {
                now.insert(new.id.to_string(), new);
            }
        }
        let mut differences = Vec::new();
        let (mut same, mut changed, mut fresh, mut missing) = (0, 0, 0, 0);
        for (id, new) in &now {
            let what = match sent.get(id) {
                Some(old) if shown_sent(old) == shown_now(new) => {
                    same += 1;
                    continue;
                }
                Some(_) => {
                    changed += 1;
                    "changed"
                }
                None => {
                    fresh += 1;
                    "new"
                }
            };
            differences.push(ReplayDifference {
                what: what.to_owned(),
                id: id.clone(),
                event_id: new.event_id.clone(),
                stream: new.stream.to_string(),
                sent: sent.get(id).map(|old| shown_sent(old)),
                now: Some(shown_now(new)),
            });
        }
        for (id, old) in sent.iter().filter(|(id, _)| !now.contains_key(id.as_str())) {
            missing += 1;
            differences.push(ReplayDifference {
                what: "missing".to_owned(),
                id: (*id).clone(),
                event_id: old.event_id.clone(),
                stream: old.stream.to_string(),
                sent: Some(shown_sent(old)),
                now: None,
            });
        }
        differences.sort_by(|a, b| a.id.cmp(&b.id));
        self.note(|status| {
            status.same += same;
            status.changed += changed;
            status.new += fresh;
            status.missing += missing;
            let room = KEPT.saturating_sub(status.differences.len());
            status
                .differences
                .extend(differences.into_iter().take(room));
        });
        self.count(batch, result);
    }
}

/// What a recipient sees, of a stored notification.
fn shown_sent(old: &NotificationRecord) -> Value {
    json!({
        "category": old.category, "title": old.title, "body": old.body, "data": old.data,
        "link": old.link, "channels": old.channels, "priority": old.priority,
        "collapseKey": old.collapse_key, "deliverAtMs": old.deliver_at_ms,
        "expiresAtMs": old.expires_at_ms,
    })
}

/// What a recipient would see, of one that is not.
fn shown_now(new: &NewNotification) -> Value {
    json!({
        "category": new.category, "title": new.title, "body": new.body, "data": new.data,
        "link": new.link, "channels": new.channels, "priority": new.priority,
        "collapseKey": new.collapse_key, "deliverAtMs": new.deliver_at_ms,
        "expiresAtMs": new.expires_at_ms,
    })
}
