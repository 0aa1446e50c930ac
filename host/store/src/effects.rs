//! Effects become entries of streams: offsets are given, older notifications are
//! replaced or taken back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::bulk;
use crate::entry::{Entry, Notification, Publication, Withdrawal};
use crate::identity::NotificationId;
use crate::share::{Effect, NewNotification, NewWithdrawal, Share};

/// What a group's effects came to.
#[derive(Default)]
pub(crate) struct Written {
    /// What became visible, in order.
    pub(crate) publications: Vec<Publication>,
    /// Whether something was stored that waits for its time.
    pub(crate) waiting: bool,
}

/// A stream, a plugin and a collapse key: what a newer notification replaces.
type Collapsing<'a> = (i64, i64, &'a str);

struct Pending<'a> {
    effect: Stored<'a>,
    stream: i64,
    offset: Option<u64>,
    hidden: bool,
}

#[derive(Clone, Copy)]
enum Stored<'a> {
    Notification(&'a NewNotification),
    Withdrawal(&'a NewWithdrawal),
}

pub(crate) async fn write_all(
    conn: &mut SqliteConnection,
    shares: &[&Share],
    now_ms: i64,
) -> Result<Written, sqlx::Error> {
    let effects: Vec<&Effect> = shares.iter().flat_map(|share| &share.effects).collect();
    if effects.is_empty() {
        return Ok(Written::default());
    }
    let present = already_stored(conn, &effects).await?;
    let mut streams = Streams::load(conn, &effects).await?;
    let taken_back = withdraw_stored(conn, &effects, &streams).await?;

    let mut pending: Vec<Pending<'_>> = Vec::with_capacity(effects.len());
    let mut latest: HashMap<Collapsing<'_>, usize> = HashMap::new();
    let mut replaced_visible = Vec::new();
    let mut replaced_waiting = Vec::new();
    for effect in &effects {
        match effect {
            Effect::Notify(new) => {
                if present.contains(&new.id) {
                    continue;
                }
                let stream = streams.id(&new.stream);
                let waits = new.deliver_at_ms.is_some_and(|at| at > now_ms);
                let expired = new.expires_at_ms.is_some_and(|at| at <= now_ms);
                let offset = (!waits && !expired).then(|| streams.advance(&new.stream));
                if let Some(key) = &new.collapse_key {
                    let key = (stream, new.plugin.0, key.as_str());
                    // What waits replaces what waits; what is seen replaces both.
                    if let Some(older) = latest.insert(key, pending.len()) {
                        let older: &mut Pending<'_> = &mut pending[older];
                        older.hidden |= offset.is_some() || older.offset.is_none();
                    }
                    if offset.is_some() { &mut replaced_visible } else { &mut replaced_waiting }.push(key);
                }
                pending.push(Pending {
                    effect: Stored::Notification(new),
                    stream,
                    offset,
                    hidden: expired,
                });
            }
            Effect::Withdraw(new) => {
                if present.contains(&new.id) {
                    continue;
                }
                let Some(stream) = streams.known(&new.stream) else { continue };
                let key = (stream, new.plugin.0, new.collapse_key.as_str());
                let in_group = latest.remove(&key).map(|older| {
                    let older: &mut Pending<'_> = &mut pending[older];
                    older.hidden = true;
                    older.offset.is_some()
                });
                // Nobody has seen it: there is nothing to tell.
                if in_group != Some(true) && !taken_back.contains(&key) {
                    continue;
                }
                let offset = Some(streams.advance(&new.stream));
                pending.push(Pending { effect: Stored::Withdrawal(new), stream, offset, hidden: true });
            }
        }
    }
    hide(conn, "", &replaced_visible).await?;
    hide(conn, "AND stream_offset IS NULL", &replaced_waiting).await?;
    insert(conn, &pending).await?;
    streams.write(conn).await?;
    Ok(Written {
        waiting: pending.iter().any(|p| p.offset.is_none() && !p.hidden),
        publications: pending.iter().filter_map(publication).collect(),
    })
}

async fn already_stored(
    conn: &mut SqliteConnection,
    effects: &[&Effect],
) -> Result<HashSet<NotificationId>, sqlx::Error> {
    let mut ids: Vec<NotificationId> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Notify(new) => new.id,
            Effect::Withdraw(new) => new.id,
        })
        .collect();
    ids.sort_unstable();
    let rows = bulk::fetch_on(conn, "SELECT id FROM notifications WHERE id IN (VALUES", 1, ")", &ids, |row, id| {
        row.bind(id.as_bytes()).map(drop)
    })
    .await?;
    Ok(rows.iter().filter_map(|row| NotificationId::from_bytes(row.get(0))).collect())
}

/// Hides what the withdrawals name; answers the keys of which something had been seen.
async fn withdraw_stored<'a>(
    conn: &mut SqliteConnection,
    effects: &[&'a Effect],
    streams: &Streams,
) -> Result<HashSet<Collapsing<'a>>, sqlx::Error> {
    let keys: Vec<Collapsing<'a>> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Withdraw(new) => {
                streams.known(&new.stream).map(|stream| (stream, new.plugin.0, new.collapse_key.as_str()))
            }
            Effect::Notify(_) => None,
        })
        .collect();
    let rows = bulk::fetch_on(
        conn,
        "UPDATE notifications SET hidden = 1 WHERE collapse_key IS NOT NULL AND hidden = 0
         AND (stream_id, plugin_id, collapse_key) IN (VALUES",
        3,
        ") RETURNING stream_id, plugin_id, collapse_key, stream_offset",
        &keys,
        |row, key| row.bind(key.0)?.bind(key.1)?.bind(key.2).map(drop),
    )
    .await?;
    let seen: HashSet<(i64, i64, String)> = rows
        .iter()
        .filter(|row| row.get::<Option<i64>, _>(3).is_some())
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    Ok(keys.into_iter().filter(|key| seen.contains(&(key.0, key.1, key.2.to_owned()))).collect())
}

async fn hide(conn: &mut SqliteConnection, only: &str, keys: &[Collapsing<'_>]) -> Result<(), sqlx::Error> {
    bulk::execute(
        conn,
        &format!(
            "UPDATE notifications SET hidden = 1 WHERE collapse_key IS NOT NULL AND hidden = 0 {only}
             AND (stream_id, plugin_id, collapse_key) IN (VALUES"
        ),
        3,
        ")",
        keys,
        |row, key| row.bind(key.0)?.bind(key.1)?.bind(key.2).map(drop),
    )
    .await
}

async fn insert(conn: &mut SqliteConnection, pending: &[Pending<'_>]) -> Result<(), sqlx::Error> {
    bulk::execute(
        conn,
        "INSERT INTO notifications (id, stream_id, stream_offset, withdraws, plugin_id, version_id, event_id, kind,
         log_id, partition, record_offset, category, title, body, data, link, channels, priority, collapse_key,
         deliver_at_ms, expires_at_ms, digest_key, digest_window_ms, created_ms, correlation_id, hidden) VALUES",
        26,
        "",
        pending,
        |row, p| {
            let offset = p.offset.map(u64::cast_signed);
            match p.effect {
                Stored::Notification(n) => row
                    .bind(n.id.as_bytes())?
                    .bind(p.stream)?
                    .bind(offset)?
                    .bind(0_i64)?
                    .bind(n.plugin.0)?
                    .bind(n.version.0)?
                    .bind(n.event_id.as_str())?
                    .bind(n.kind.as_str())?
                    .bind(n.source.log.0)?
                    .bind(n.source.partition)?
                    .bind(n.source.offset)?
                    .bind(n.category.as_str())?
                    .bind(n.title.as_str())?
                    .bind(n.body.as_str())?
                    .bind(n.data.as_deref().map(serde_json::value::RawValue::get))?
                    .bind(n.link.as_deref())?
                    .bind(n.channels.as_deref())?
                    .bind(n.priority.to_row())?
                    .bind(n.collapse_key.as_deref())?
                    .bind(n.deliver_at_ms)?
                    .bind(n.expires_at_ms)?
                    .bind(n.digest_key.as_deref())?
                    .bind(n.digest_window_ms)?
                    .bind(n.source.logged_at_ms)?
                    .bind(n.correlation_id.as_deref())?
                    .bind(i64::from(p.hidden)),
                Stored::Withdrawal(w) => row
                    .bind(w.id.as_bytes())?
                    .bind(p.stream)?
                    .bind(offset)?
                    .bind(1_i64)?
                    .bind(w.plugin.0)?
                    .bind(w.version.0)?
                    .bind(w.event_id.as_str())?
                    .bind(w.kind.as_str())?
                    .bind(w.source.log.0)?
                    .bind(w.source.partition)?
                    .bind(w.source.offset)?
                    .bind("")?
                    .bind("")?
                    .bind("")?
                    .bind(None::<&str>)?
                    .bind(None::<&str>)?
                    .bind(None::<&str>)?
                    .bind(1_i64)?
                    .bind(w.collapse_key.as_str())?
                    .bind(None::<i64>)?
                    .bind(None::<i64>)?
                    .bind(None::<&str>)?
                    .bind(None::<i64>)?
                    .bind(w.source.logged_at_ms)?
                    .bind(w.correlation_id.as_deref())?
                    .bind(i64::from(p.hidden)),
            }
            .map(drop)
        },
    )
    .await
}

fn publication(pending: &Pending<'_>) -> Option<Publication> {
    let offset = pending.offset?;
    let entry = match pending.effect {
        Stored::Notification(n) => Entry::Notification(Notification {
            id: n.id,
            stream: Arc::clone(&n.stream),
            offset,
            plugin: Arc::clone(&n.plugin_name),
            event_id: n.event_id.clone(),
            kind: n.kind.clone(),
            category: n.category.clone(),
            title: n.title.clone(),
            body: n.body.clone(),
            data: n.data.clone(),
            link: n.link.clone(),
            priority: n.priority,
            collapse_key: n.collapse_key.clone(),
            created_ms: n.source.logged_at_ms,
            expires_at_ms: n.expires_at_ms,
            correlation_id: n.correlation_id.clone(),
        }),
        Stored::Withdrawal(w) => Entry::Withdrawal(Withdrawal {
            id: w.id,
            stream: Arc::clone(&w.stream),
            offset,
            plugin: Arc::clone(&w.plugin_name),
            event_id: w.event_id.clone(),
            collapse_key: w.collapse_key.clone(),
            created_ms: w.source.logged_at_ms,
        }),
    };
    Some(entry.publication())
}

/// The streams that a group writes to.
pub(crate) struct Streams {
    by_name: HashMap<Arc<str>, (i64, u64)>,
}

impl Streams {
    async fn load(conn: &mut SqliteConnection, effects: &[&Effect]) -> Result<Self, sqlx::Error> {
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
            streams.by_name.insert(Arc::from(row.get::<&str, _>(0)), (row.get(1), 0));
        }
        Ok(streams)
    }

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
            .map(|row| (Arc::from(row.get::<&str, _>(0)), (row.get(1), row.get::<i64, _>(2).cast_unsigned())))
            .collect();
        Ok(Self { by_name })
    }

    fn known(&self, name: &str) -> Option<i64> {
        self.by_name.get(name).map(|(id, _)| *id)
    }

    /// Streams of notifications were loaded or made.
    fn id(&self, name: &str) -> i64 {
        self.known(name).unwrap_or_default()
    }

    /// The next offset of a stream.
    pub(crate) fn advance(&mut self, name: &str) -> u64 {
        match self.by_name.get_mut(name) {
            Some((_, offset)) => {
                *offset += 1;
                *offset
            }
            None => 0,
        }
    }

    pub(crate) async fn write(self, conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let rows: Vec<_> = self.by_name.into_iter().collect();
        bulk::execute(
            conn,
            "INSERT INTO streams (id, name, last_offset) VALUES",
            3,
            "ON CONFLICT (id) DO UPDATE SET last_offset = excluded.last_offset",
            &rows,
            |row, (name, (id, offset))| {
                row.bind(*id)?.bind(Arc::clone(name))?.bind(offset.cast_signed()).map(drop)
            },
        )
        .await
    }
}
