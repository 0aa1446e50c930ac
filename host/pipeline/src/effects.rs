//! From a plugin's actions to what the store writes.

use std::collections::HashMap;
use std::sync::Arc;

use carillon_sandbox::{Action, Notification, Urgency};
use carillon_store::{Effect, NewNotification, NewWithdrawal, NotificationId, Priority, VersionId};

use crate::batch::{Batch, Decoded, Item};
use crate::handler::Handler;

/// What a withdrawal has instead of a category when its id is derived; no category can be
/// equal to it, since categories have no U+0000.
const WITHDRAWAL: &str = "\0withdrawal";

/// What an effect takes in memory, about.
pub(crate) fn size_bytes(effect: &Effect) -> usize {
    const FIXED: usize = 400;
    match effect {
        Effect::Withdraw(_) => FIXED,
        Effect::Notify(new) => {
            let data = new.data.as_ref().map_or(0, |data| data.get().len());
            FIXED + new.title.len() + new.body.len() + data
        }
    }
}

/// The effects of one answer, in its order.
pub(crate) fn effects(
    handler: &Handler,
    version: VersionId,
    batch: &Batch,
    item: &Item,
    decoded: &Decoded,
    actions: Vec<Action>,
) -> Vec<Effect> {
    let event = &decoded.event;
    let mut ordinals: HashMap<(String, String, Option<String>), u32> = HashMap::new();
    let mut derive = |stream: &str, category: &str, collapse_key: Option<&str>| {
        let equal = (
            stream.to_owned(),
            category.to_owned(),
            collapse_key.map(str::to_owned),
        );
        let ordinal = ordinals.entry(equal).or_default();
        let id = NotificationId::derive(
            event.time_ms,
            &event.id,
            &handler.name,
            stream,
            category,
            collapse_key,
            *ordinal,
        );
        *ordinal += 1;
        id
    };
    let source = batch.source(item);
    actions
        .into_iter()
        .map(|action| match action {
            Action::Withdraw(withdrawal) => {
                let stream = withdrawal.recipient.stream();
                Effect::Withdraw(Box::new(NewWithdrawal {
                    id: derive(&stream, WITHDRAWAL, Some(&withdrawal.collapse_key)),
                    stream: stream.into(),
                    plugin: handler.id,
                    plugin_name: Arc::clone(&handler.name),
                    version,
                    event_id: event.id.clone(),
                    kind: event.kind.as_str().to_owned(),
                    source,
                    collapse_key: withdrawal.collapse_key,
                    correlation_id: event.correlation_id.clone(),
                }))
            }
            Action::Notify(notification) => {
                let Notification {
                    recipient,
                    category,
                    title,
                    body,
                    data,
                    link,
                    channels,
                    urgency,
                    collapse_key,
                    deliver_at_ms,
                    expires_at_ms,
                    digest,
                } = *notification;
                let stream = recipient.stream();
                let (digest_key, digest_window_ms) = digest.map(|d| (d.key, d.window_ms)).unzip();
                let names: Vec<&str> = channels.iter().map(|channel| channel.name()).collect();
                Effect::Notify(Box::new(NewNotification {
                    id: derive(&stream, &category, collapse_key.as_deref()),
                    stream: stream.into(),
                    plugin: handler.id,
                    plugin_name: Arc::clone(&handler.name),
                    version,
                    event_id: event.id.clone(),
                    kind: event.kind.as_str().to_owned(),
                    source,
                    category,
                    title,
                    body,
                    data,
                    link,
                    channels: (!names.is_empty()).then(|| names.join(",")),
                    priority: match urgency {
                        Urgency::Low => Priority::Low,
                        Urgency::Normal => Priority::Normal,
                        Urgency::High => Priority::High,
                        Urgency::Critical => Priority::Critical,
                    },
                    collapse_key,
                    deliver_at_ms,
                    expires_at_ms,
                    digest_key,
                    digest_window_ms,
                    correlation_id: event.correlation_id.clone(),
                }))
            }
        })
        .collect()
}
