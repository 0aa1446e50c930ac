//! The group commit: many shares, one transaction.

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use crate::cursors::CursorTable;
use crate::entry::Publication;
use crate::error::ShareError;
use crate::open::{Store, read, write};
use crate::share::Share;
use crate::state::StateVersions;
use crate::{dead_letters, decisions, effects};

struct GroupWritten {
    publications: Vec<Publication>,
    hours: BTreeSet<i64>,
    waiting: bool,
    dead_letters: bool,
}

impl Store {
    /// Writes a group of shares in one transaction and answers one result a share, in
    /// order. A share that has lost its right (its cursor or its plugin's state moved
    /// meanwhile) is left out; if the database refuses the group, each share is written
    /// alone, so that one bad value cannot stop the others.
    pub async fn commit(&self, shares: &[Share]) -> Vec<Result<(), ShareError>> {
        let started = Instant::now();
        let mut writer = self.inner.writer.lock().await;
        let all: Vec<&Share> = shares.iter().collect();
        let results = match self.commit_group(&mut writer, &all).await {
            Ok(results) => results,
            Err(error) if all.len() == 1 => vec![Err(error)],
            Err(error) => {
                tracing::warn!(%error, shares = all.len(), "a group commit failed; its shares are written one by one");
                let mut results = Vec::with_capacity(all.len());
                for share in all {
                    let alone = self.commit_group(&mut writer, &[share]).await;
                    results.push(alone.and_then(|mut results| {
                        results.pop().unwrap_or_else(|| Err(ShareError::Unavailable("no result".to_owned())))
                    }));
                }
                results
            }
        };
        drop(writer);
        metrics::histogram!("carillon_commit_seconds").record(started.elapsed().as_secs_f64());
        metrics::histogram!("carillon_commit_shares").record(shares.len() as f64);
        results
    }

    async fn commit_group(
        &self,
        writer: &mut SqliteConnection,
        shares: &[&Share],
    ) -> Result<Vec<Result<(), ShareError>>, ShareError> {
        let fail = |error: sqlx::Error| ShareError::from_sqlx(&error);
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(fail)?;
        let mut cursors = CursorTable::load(&mut tx, shares).await.map_err(fail)?;
        let states = StateVersions::load(&mut tx, shares).await.map_err(fail)?;
        let mut results: Vec<Result<(), ShareError>> = shares.iter().map(|share| cursors.check(share)).collect();
        states.strike_out(shares, &mut results);
        for (share, result) in shares.iter().zip(&results) {
            if result.is_ok() {
                // Fails only where two shares of the group move one cursor; then the group
                // is written share by share.
                cursors.apply(share)?;
            }
        }
        let accepted: Vec<&Share> =
            shares.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(share, _)| *share).collect();
        if accepted.is_empty() {
            return Ok(results);
        }
        let known_hours = read(&self.inner.hours).clone();
        let window = i64::from(self.inner.config.duplicate_window_hours);
        let written = async {
            let now_ms = now_ms();
            cursors.write(&mut tx).await?;
            StateVersions::write(&mut tx, &accepted).await?;
            let hours = decisions::write_all(&mut tx, &known_hours, window, now_ms, &accepted).await?;
            let dead_letters = dead_letters::write_all(&mut tx, &accepted, now_ms).await?;
            let effects = effects::write_all(&mut tx, &accepted, now_ms).await?;
            Ok(GroupWritten { publications: effects.publications, hours, waiting: effects.waiting, dead_letters })
        }
        .await
        .map_err(fail)?;
        tx.commit().await.map_err(fail)?;
        self.announce(written);
        Ok(results)
    }

    fn announce(&self, written: GroupWritten) {
        if !written.hours.is_empty() {
            write(&self.inner.hours).extend(written.hours);
        }
        self.publish(&written.publications);
        if written.waiting {
            self.inner.waiting_stored.notify_one();
        }
        if written.dead_letters {
            self.inner.dead_letter_stored.notify_one();
        }
    }
}

/// Milliseconds since 1970 by this machine's clock.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
