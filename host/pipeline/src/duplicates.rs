//! Events that were decided before.

use std::collections::HashMap;

use carillon_store::{PastDecision, PluginId, Store, StoreError};

use crate::batch::{Batch, Decoded};

/// What is known about the events of a batch from before it.
#[derive(Default)]
pub(crate) struct Past {
    decided: HashMap<[u8; 16], Vec<PastDecision>>,
}

/// How an event relates to what a lane decided before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// Never seen.
    New,
    /// Decided already.
    Repeat,
    /// Another event claims an id that was decided already.
    Impostor,
}

impl Past {
    /// Looks up the events of `batch` that somebody wants.
    pub(crate) async fn look_up(
        store: &Store,
        batch: &Batch,
        wanted: impl Fn(&Decoded) -> bool,
    ) -> Result<Self, StoreError> {
        let keys: Vec<[u8; 16]> = batch
            .items
            .iter()
            .filter_map(|item| item.content.as_ref().ok())
            .filter(|decoded| wanted(decoded))
            .map(|decoded| decoded.key)
            .collect();
        Ok(Self {
            decided: store.decided(&keys).await?,
        })
    }

    /// How `event` stands to `plugin`. `earlier` holds what the plugin was given from the same
    /// batch before.
    pub(crate) fn novelty(
        &self,
        plugin: PluginId,
        event: &Decoded,
        earlier: &mut HashMap<[u8; 16], u64>,
    ) -> Novelty {
        let past = self
            .decided
            .get(&event.key)
            .and_then(|all| all.iter().find(|past| past.plugin == plugin));
        let known = past
            .map(|past| past.content_hash)
            .or_else(|| earlier.get(&event.key).copied());
        match known {
            None => {
                earlier.insert(event.key, event.content_hash);
                Novelty::New
            }
            Some(hash) if hash == event.content_hash => Novelty::Repeat,
            Some(_) => Novelty::Impostor,
        }
    }
}
