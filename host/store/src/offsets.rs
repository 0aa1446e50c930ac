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
    last: Place,
    moved: bool,
}

/// Where an entry stands in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The position, from 1.
    pub(crate) offset: u64,
    /// When it became visible, milliseconds since 1970. Never less than that of the entry
    /// before it, even where the machine's clock was set back: the inbox relies on it.
    pub(crate) visible_ms: i64,
}

impl Streams {
    /// The streams of these effects; those that are notified and not there are made.
    pub(crate) async fn load(
        conn: &mut SqliteConnection,
        effects: &[&Effect],
    ) -> Result<Self, sqlx::Error> {
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
            streams.by_name.insert(
                Arc::from(row.get::<&str, _>(0)),
                Stream {
                    id: row.get(1),
                    last: Place {
                        offset: 0,
                        visible_ms: 0,
                    },
                    moved: false,
                },
            );
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
        let numbered: Vec<(i64, Arc<str>)> = (0..).zip(names).collect();
        // One row for many: between the connection's thread and this one each row costs more
        // than what SQLite does for it.
        let rows = bulk::fetch_on(
            conn,
            "SELECT group_concat(concat_ws(' ', asked.column1, s.id, s.last_offset, s.last_visible_ms))
             FROM streams s JOIN (VALUES",
            2,
            ") AS asked ON s.name = asked.column2",
            &numbered,
            |row, (number, name)| row.bind(*number)?.bind(Arc::clone(name)).map(drop),
        )
        .await?;
        let mut by_name = HashMap::with_capacity(numbered.len());
        for row in &rows {
            for stream in row
                .get::<Option<&str>, _>(0)
                .unwrap_or_default()
                .split_terminator(',')
            {
                let (name, stream) = read(stream, &numbered).ok_or_else(|| {
                    sqlx::Error::Protocol(format!("the stream {stream:?} cannot be read"))
                })?;
                by_name.insert(name, stream);
            }
        }
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

    /// The next place in a stream.
    pub(crate) fn advance(&mut self, name: &str, now_ms: i64) -> Place {
        let Some(stream) = self.by_name.get_mut(name) else {
            return Place {
                offset: 0,
                visible_ms: now_ms,
            };
        };
        stream.last = Place {
            offset: stream.last.offset + 1,
            visible_ms: now_ms.max(stream.last.visible_ms),
        };
        stream.moved = true;
        stream.last
    }

    /// Stores the offsets that were given.
    pub(crate) async fn write(self, conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let mut rows: Vec<_> = self
            .by_name
            .into_iter()
            .filter(|(_, stream)| stream.moved)
            .collect();
        rows.sort_unstable_by_key(|(_, stream)| stream.id);
        bulk::execute(
            conn,
            "INSERT INTO streams (id, name, last_offset, last_visible_ms) VALUES",
            4,
            "ON CONFLICT (id) DO UPDATE SET last_offset = excluded.last_offset, last_visible_ms = excluded.last_visible_ms",
            &rows,
            |row, (name, stream)| {
                row.bind(stream.id)?
                    .bind(Arc::clone(name))?
                    .bind(stream.last.offset.cast_signed())?
                    .bind(stream.last.visible_ms)
                    .map(drop)
            },
        )
        .await
    }
}

/// Reads `number id last_offset last_visible_ms`.
fn read(text: &str, numbered: &[(i64, Arc<str>)]) -> Option<(Arc<str>, Stream)> {
    let mut values = text.split(' ').map(str::parse::<i64>);
    let mut next = || values.next()?.ok();
    let (_, name) = numbered.get(usize::try_from(next()?).ok()?)?;
    let id = next()?;
    let last = Place {
        offset: next()?.cast_unsigned(),
        visible_ms: next()?,
    };
    Some((
        Arc::clone(name),
        Stream {
            id,
            last,
            moved: false,
        },
    ))
}
