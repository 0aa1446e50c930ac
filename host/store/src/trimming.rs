//! Old entries go, so that a stream's history is bounded.

use crate::commit::now_ms;
use crate::error::StoreError;
use crate::open::Store;

/// Entries deleted in one transaction: what holds the writer up is bounded.
const ENTRIES_AT_ONCE: i64 = 2_000;

/// A stretch of a stream that goes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    stream: i64,
    after: i64,
    through: i64,
}

impl Store {
    /// Trims streams to the configured length, as soon as they are a tenth longer; answers
    /// how many entries went. The mark that recovery looks at moves in the same transaction
    /// as the entries go.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn trim_streams(&self) -> Result<u64, StoreError> {
        let keep = i64::from(self.inner.config.history_per_stream);
        let long: Vec<(i64, i64, i64)> = sqlx::query_as(
            "SELECT id, trimmed_through, last_offset FROM streams WHERE last_offset - trimmed_through > ? LIMIT 10000",
        )
        .bind(keep + keep / 10)
        .fetch_all(&self.inner.readers)
        .await
        .map_err(StoreError::database("find long streams"))?;
        let stretches = long
            .into_iter()
            .flat_map(|(stream, after, last)| pieces(stream, after, last - keep));
        let mut gone = 0;
        let mut group: Vec<Stretch> = Vec::new();
        let mut entries = 0;
        for stretch in stretches {
            entries += stretch.through - stretch.after;
            group.push(stretch);
            if entries >= ENTRIES_AT_ONCE {
                gone += self.trim(&std::mem::take(&mut group)).await?;
                entries = 0;
            }
        }
        Ok(gone + self.trim(&group).await?)
    }

    /// Deletes what never became visible and never will, once its event is older than the
    /// duplicate window: until then it tells a decision that is taken again.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn forget_set_aside(&self) -> Result<u64, StoreError> {
        let window_ms = i64::from(self.inner.config.duplicate_window_hours) * 3_600_000;
        let mut writer = self.writer().await;
        sqlx::query(
            "DELETE FROM notifications WHERE id IN (
             SELECT id FROM notifications WHERE stream_offset IS NULL AND hidden = 1 AND created_ms < ? LIMIT ?)",
        )
        .bind(now_ms() - window_ms)
        .bind(ENTRIES_AT_ONCE)
        .execute(writer.conn())
        .await
        .map(|done| done.rows_affected())
        .map_err(StoreError::database("forget what never became visible"))
    }

    async fn trim(&self, stretches: &[Stretch]) -> Result<u64, StoreError> {
        if stretches.is_empty() {
            return Ok(0);
        }
        let mut writer = self.writer().await;
        let trimmed = async {
            writer.begin().await?;
            let mut gone = 0;
            for stretch in stretches {
                let done = sqlx::query(
                    "DELETE FROM notifications WHERE stream_id = ? AND stream_offset > ? AND stream_offset <= ?",
                )
                .bind(stretch.stream)
                .bind(stretch.after)
                .bind(stretch.through)
                .execute(writer.conn())
                .await?;
                gone += done.rows_affected();
                sqlx::query("UPDATE streams SET trimmed_through = ? WHERE id = ? AND trimmed_through < ?")
                    .bind(stretch.through)
                    .bind(stretch.stream)
                    .bind(stretch.through)
                    .execute(writer.conn())
                    .await?;
            }
            writer.commit().await?;
            Ok(gone)
        }
        .await;
        match trimmed {
            Ok(gone) => Ok(gone),
            Err(error) => {
                writer.rollback().await;
                Err(StoreError::database("trim streams")(error))
            }
        }
    }
}

/// The entries after `after` up to and including `through`, in stretches that fit a transaction.
fn pieces(stream: i64, after: i64, through: i64) -> impl Iterator<Item = Stretch> {
    let mut after = after;
    std::iter::from_fn(move || {
        let to = through.min(after + ENTRIES_AT_ONCE);
        let stretch = Stretch {
            stream,
            after,
            through: to,
        };
        after = to;
        (stretch.after < to).then_some(stretch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_stretch_goes_in_pieces_without_a_gap() {
        let ends: Vec<(i64, i64)> = pieces(1, 3, 4_500).map(|s| (s.after, s.through)).collect();
        assert_eq!(ends, [(3, 2_003), (2_003, 4_003), (4_003, 4_500)]);
        assert_eq!(pieces(1, 7, 7).count() + pieces(1, 9, 7).count(), 0);
    }
}
