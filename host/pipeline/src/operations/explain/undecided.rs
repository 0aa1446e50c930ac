//! Why a plugin has decided nothing about an event.

use carillon_store::RunState;

use super::Spot;
use super::words::time;
use crate::batch::Decoded;
use crate::counted::counted;
use crate::handler::Handler;
use crate::operations::Operations;
use crate::operations::model::PluginStory;

impl Operations {
    /// Why a plugin has decided nothing about an event.
    pub(super) fn undecided(
        &self,
        spot: &Spot,
        decoded: &Decoded,
        handler: &Handler,
    ) -> PluginStory {
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
            .parts
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
        let records = counted(behind, "record");
        match (handler.plugin.gate.state(), lane) {
            (RunState::Paused { since_ms }, _) => story(
                "paused",
                format!(
                    "it is paused since {}; its lane stands {records} before this one",
                    time(since_ms)
                ),
            ),
            (RunState::Quarantined { reason, .. }, _) => story(
                "quarantined",
                format!("it is quarantined ({reason}); its lane stands {records} before this one"),
            ),
            (RunState::Active, Some(lane)) if lane.stopped.is_some() => {
                story("not-reached", lane.stopped.clone().unwrap_or_default())
            }
            (RunState::Active, Some(lane)) if lane.retry.is_some() && behind == 0 => {
                let (attempts, error) = lane.retry.clone().unwrap_or_default();
                story(
                    "retrying",
                    format!(
                        "{} failed, the last one: {error}; it is tried again",
                        counted(attempts, "attempt")
                    ),
                )
            }
            (RunState::Active, _) => story(
                "not-reached",
                format!("its lane stands {records} before this one"),
            ),
        }
    }
}
