//! The group commit: many shares, one transaction.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::PoisonError;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sqlx::sqlite::SqliteConnection;
use tokio::sync::OwnedMutexGuard;

use crate::cursors::CursorTable;
use crate::decisions::DecisionsWritten;
use crate::entry::Publication;
use crate::error::ShareError;
use crate::identity::TrialId;
use crate::open::{Store, read, write};
use crate::share::Share;
use crate::state::StateVersions;
use crate::writer::Writer;
use crate::{dead_letters, decisions, effects, trial_answers};

/// What is told to the rest of the host once a group stands.
#[derive(Default)]
pub(crate) struct Announcement {
    pub(crate) publications: Vec<Publication>,
    pub(crate) decisions: DecisionsWritten,
    pub(crate) waiting: bool,
    pub(crate) dead_letters: bool,
    /// How many answers each trial got.
    pub(crate) answers: BTreeMap<TrialId, u64>,
}

/// Why no share of a group was written.
enum GroupError {
    /// The database cannot write; fewer shares at a time would not change that.
    Database(ShareError),
    /// One share or another is to blame.
    Share(ShareError),
}

impl GroupError {
    fn from_sqlx(error: &sqlx::Error) -> Self {
        let share = ShareError::from_sqlx(error);
        if ShareError::is_of_the_database(error) {
            Self::Database(share)
        } else {
            Self::Share(share)
        }
    }
}

type Results = Vec<Result<(), ShareError>>;

impl Store {
    /// Writes a group of shares in one transaction and answers one result a share, in
    /// order. A share that has lost its right (its cursor or its plugin's state moved
    /// meanwhile) is left out; if the database refuses the group, its halves are written by
    /// themselves, and so on, so that one bad value cannot stop the others.
    ///
    /// May be dropped at any await: what was committed is announced all the same.
    pub async fn commit(&self, shares: &[Share]) -> Vec<Result<(), ShareError>> {
        let started = Instant::now();
        let mut results: Vec<Option<Result<(), ShareError>>> = vec![None; shares.len()];
        let all: Vec<usize> = (0..shares.len()).collect();
        self.commit_in_pieces(shares, &all, &mut results).await;
        metrics::histogram!("carillon_commit_seconds").record(started.elapsed().as_secs_f64());
        metrics::histogram!("carillon_commit_shares").record(shares.len() as f64);
        let unanswered = || Err(ShareError::Unavailable("no result".to_owned()));
        results
            .into_iter()
            .map(|result| result.unwrap_or_else(unanswered))
            .collect()
    }

    async fn commit_in_pieces(
        &self,
        shares: &[Share],
        all: &[usize],
        results: &mut [Option<Result<(), ShareError>>],
    ) {
        let mut pieces: Vec<Vec<usize>> = vec![all.to_vec()];
        // Shares whose plugin state follows on a share of another piece.
        let mut out_of_line: Vec<usize> = Vec::new();
        let mut progress = false;
        loop {
            let Some(piece) = pieces.pop() else {
                // What they follow on may stand by now.
                if out_of_line.is_empty() || !progress {
                    return;
                }
                progress = false;
                pieces.push(std::mem::take(&mut out_of_line));
                continue;
            };
            let members: Vec<&Share> = piece.iter().map(|index| &shares[*index]).collect();
            match self.commit_group(&members).await {
                Ok(answers) => {
                    for (index, answer) in piece.iter().zip(answers) {
                        match answer {
                            Ok(()) => progress = true,
                            Err(ShareError::StateConflict) => out_of_line.push(*index),
                            Err(_) => {}
                        }
                        results[*index] = Some(answer);
                    }
                    if piece.len() == all.len() {
                        return;
                    }
                }
                Err(GroupError::Share(error)) if piece.len() > 1 => {
                    tracing::warn!(%error, shares = piece.len(), "a group commit failed; its halves are written by themselves");
                    let (first, second) = piece.split_at(piece.len() / 2);
                    pieces.push(second.to_vec());
                    pieces.push(first.to_vec());
                }
                Err(GroupError::Share(error) | GroupError::Database(error)) => {
                    for index in piece {
                        results[index] = Some(Err(error.clone()));
                    }
                }
            }
        }
    }

    async fn commit_group(&self, shares: &[&Share]) -> Result<Results, GroupError> {
        if shares.is_empty() {
            return Ok(Vec::new());
        }
        let mut writer = self.writer().await;
        let fail = |error: sqlx::Error| GroupError::from_sqlx(&error);
        writer.begin().await.map_err(fail)?;
        match self.write_group(writer.conn(), shares).await {
            Ok((results, Some(announcement))) => {
                self.finish(writer, announcement).await.map_err(fail)?;
                Ok(results)
            }
            Ok((results, None)) => {
                writer.rollback().await;
                Ok(results)
            }
            Err(error) => {
                writer.rollback().await;
                Err(fail(error))
            }
        }
    }

    async fn write_group(
        &self,
        conn: &mut SqliteConnection,
        shares: &[&Share],
    ) -> Result<(Results, Option<Announcement>), sqlx::Error> {
        let removed = read(&self.inner.removed).clone();
        let mut cursors = CursorTable::load(conn, shares, removed).await?;
        let states = StateVersions::load(conn, shares).await?;
        let hours = read(&self.inner.hours).clone();
        let mut results: Results = vec![Ok(()); shares.len()];
        loop {
            self.strike_out_decided(shares, &hours, &mut results);
            cursors.reset();
            for (share, result) in shares
                .iter()
                .zip(&mut results)
                .filter(|(_, result)| result.is_ok())
            {
                *result = cursors.apply(share);
            }
            // A share that falls takes its cursor and its place among the states back.
            if !states.strike_out(shares, &mut results) {
                break;
            }
        }
        let accepted: Vec<&Share> = shares
            .iter()
            .zip(&results)
            .filter(|(_, result)| result.is_ok())
            .map(|(share, _)| *share)
            .collect();
        if accepted.is_empty() {
            return Ok((results, None));
        }
        let now_ms = now_ms();
        let window = i64::from(self.inner.config.duplicate_window_hours);
        cursors.write(conn).await?;
        StateVersions::write(conn, &accepted).await?;
        let decisions = decisions::write_all(conn, &hours, window, now_ms, &accepted).await?;
        // First, so that a record which fails again is a dead letter again.
        dead_letters::settle_all(conn, &accepted).await?;
        let dead_letters = dead_letters::write_all(conn, &accepted, now_ms).await?;
        let effects = effects::write_all(conn, &accepted, now_ms).await?;
        let answers = trial_answers::write_all(conn, &accepted).await?;
        let announcement = Announcement {
            publications: effects.publications,
            decisions,
            waiting: effects.waiting,
            dead_letters,
            answers,
        };
        Ok((results, Some(announcement)))
    }

    fn strike_out_decided(&self, shares: &[&Share], hours: &BTreeSet<i64>, results: &mut Results) {
        let recent = self
            .inner
            .recent
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut group = HashSet::new();
        for (share, result) in shares
            .iter()
            .zip(results)
            .filter(|(_, result)| result.is_ok())
        {
            if recent.holds_any_of(share, &group, |hour| hours.contains(&hour)) {
                *result = Err(ShareError::AlreadyDecided(
                    "by another partition at the same time".to_owned(),
                ));
                continue;
            }
            group.extend(
                share
                    .decisions
                    .iter()
                    .map(|decision| (decision.event_key, decision.plugin.0)),
            );
        }
    }

    /// Commits and announces. The writer is still held then, so that publishers hear the
    /// commits in their order.
    pub(crate) async fn finish(
        &self,
        writer: OwnedMutexGuard<Writer>,
        announcement: Announcement,
    ) -> Result<(), sqlx::Error> {
        self.commit_then(writer, |store| store.announce(announcement))
            .await
    }

    fn announce(&self, announcement: Announcement) {
        let DecisionsWritten { made, decided } = announcement.decisions;
        if !made.is_empty() {
            write(&self.inner.hours).extend(made);
        }
        self.inner
            .recent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remember(decided);
        self.publish(&announcement.publications);
        if announcement.waiting {
            self.inner.waiting_stored.notify_one();
        }
        if announcement.dead_letters {
            self.inner.dead_letter_stored.notify_one();
        }
        self.inner.trial_sizes.grow(&announcement.answers);
    }
}

/// Milliseconds since 1970 by this machine's clock.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
