//! The offsets that a transaction gives.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::bulk;
use crate::share::Effect;

/// The streams that a group writes to.
pub(crate) struct Streams {
    by_name: HashMap<Arc<str>, Stream>,
}

struct Stream {
    id: i64,
    last_offset: u64,
    moved: bool,
}

impl Streams {
    /// The streams of these effects; those that are notified and not there are made.
    pub(crate) async fn load(conn: &mut SqliteConnection, effects: &[&Effect]) -> Result<Self, sqlx::Error> {
        let mut notified: Vec<Arc<str>> = Vec::new();
        let mut names: Vec<Arc<str>> = Vec::with_capacity(effects.len());
        for effect in effects {
            match effect {
                Effect::Notify(new) => {
                    notified.push(Arc::clone(&new.stream));
                    names.push(Arc::clone(&new.stream));
                }
                Effect::Withdraw(new) => names.push(Arc::clone(&new.stream)),
            }
        }
        let mut streams = Self::load_names(conn, names).await?;
        notified.sort_unstable();
        notified.dedup();
        notified.retain(|name| !streams.by_name.contains_key(name));
        let made = bulk::fetch_on(
            conn,
            "INSERT INTO streams (last_offset, name) VALUES",
            2,
            "RETURNING name, id",
            &notified,
            |row, name| row.bind(0_i64)?.bind(Arc::clone(name)).map(drop),
        )
        .await?;
        for row in &made {
            streams.by_name.insert(Arc::from(row.get::<&str, _>(0)), Stream { id: row.get(1), last_offset: 0, moved: false });
        }
        Ok(streams)
    }

    /// The streams of these names that there are.
    pub(crate) async fn load_names(
        conn: &mut SqliteConnection,
        mut names: Vec<Arc<str>>,
    ) -> Result<Self, sqlx::Error> {
        names.sort_unstable();
        names.dedup();
        let rows = bulk::fetch_on(
            conn,
            "SELECT name, id, last_offset FROM streams WHERE name IN (VALUES",
            1,
            ")",
            &names,
            |row, name| row.bind(Arc::clone(name)).map(drop),
        )
        .await?;
        let by_name = rows
            .iter()
            .map(|row| {
                let last_offset = row.get::<i64, _>(2).cast_unsigned();
                (Arc::from(row.get::<&str, _>(0)), Stream { id: row.get(1), last_offset, moved: false })
            })
            .collect();
        Ok(Self { by_name })
    }

    /// The number of a stream, if there is such a stream.
    pub(crate) fn known(&self, name: &str) -> Option<i64> {
        self.by_name.get(name).map(|stream| stream.id)
    }

    /// Streams of notifications were loaded or made.
    pub(crate) fn id(&self, name: &str) -> i64 {
        self.known(name).unwrap_or_default()
    }

    /// The next offset of a stream.
    pub(crate) fn advance(&mut self, name: &str) -> u64 {
        match self.by_name.get_mut(name) {
            Some(stream) => {
                stream.last_offset += 1;
                stream.moved = true;
                stream.last_offset
            }
            None => 0,
        }
    }

    /// Stores the offsets that were given.
    pub(crate) async fn write(self, conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let mut rows: Vec<_> = self.by_name.into_iter().filter(|(_, stream)| stream.moved).collect();
        rows.sort_unstable_by_key(|(_, stream)| stream.id);
        bulk::execute(
            conn,
            "INSERT INTO streams (id, name, last_offset) VALUES",
            3,
            "ON CONFLICT (id) DO UPDATE SET last_offset = excluded.last_offset",
            &rows,
            |row, (name, stream)| {
                row.bind(stream.id)?.bind(Arc::clone(name))?.bind(stream.last_offset.cast_signed()).map(drop)
            },
        )
        .await
    }
}
