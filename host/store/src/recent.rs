//! The decisions of the last moments.
//!
//! A lane looks up its events before it runs them. Another partition may decide on the
//! same event meanwhile, and in another hour's table, where no key would clash.

use std::collections::{HashMap, HashSet};

use crate::share::Share;

/// An event and who decided on it.
type Key = ([u8; 16], i64);

/// How many decisions are remembered at least: many times what can be committed while a
/// lane runs one batch.
const AT_LEAST: usize = 65_536;

/// See the module.
#[derive(Default)]
pub(crate) struct Recent {
    /// By the hour whose table holds the decision.
    newer: HashMap<Key, i64>,
    older: HashMap<Key, i64>,
}

impl Recent {
    /// The hour of the table that a decision stands in.
    fn hour(&self, key: &Key) -> Option<i64> {
        self.newer.get(key).or_else(|| self.older.get(key)).copied()
    }

    pub(crate) fn remember(&mut self, decided: impl IntoIterator<Item = (Key, i64)>) {
        self.newer.extend(decided);
        if self.newer.len() >= AT_LEAST {
            self.older = std::mem::take(&mut self.newer);
        }
    }

    /// Whether anything that `share` decides anew was decided by `group` or just before, and can
    /// still be found: in one of the hours that `has_table` tells.
    pub(crate) fn holds_any_of(
        &self,
        share: &Share,
        group: &HashSet<Key>,
        has_table: impl Fn(i64) -> bool,
    ) -> bool {
        let mut own = HashSet::with_capacity(share.decisions.len());
        let mut anew = share.decisions.iter().filter(|decision| !decision.replaces);
        anew.any(|decision| {
            let key = (decision.event_key, decision.plugin.0);
            !own.insert(key) || group.contains(&key) || self.hour(&key).is_some_and(&has_table)
        })
    }
}
