//! Effects become entries of streams: offsets are given, older notifications are
//! replaced or taken back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use crate::bulk;
use crate::entry::{Entry, Notification, Publication, Withdrawal};
use crate::identity::NotificationId;
use crate::offsets::{Place, Streams};
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
pub(crate) type Collapsing<'a> = (i64, i64, &'a str);

/// When a notification can be seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    Now,
    /// When its time comes.
    Later,
    /// It has expired. It counts as seen and gone, so that what stands does not depend on
    /// when the event was handled.
    Past,
    /// It expires before its time comes.
    Never,
}

impl Sight {
    fn of(new: &NewNotification, now_ms: i64) -> Self {
        let ends_by = |at: i64| new.expires_at_ms.is_some_and(|end| end <= at);
        match new.deliver_at_ms {
            Some(at) if ends_by(at) => Self::Never,
            Some(at) if at > now_ms => Self::Later,
            _ if ends_by(now_ms) => Self::Past,
            _ => Self::Now,
        }
    }
}

/// What the group itself holds under one collapse key and has not replaced.
#[derive(Default)]
struct Standing {
    seen: Option<usize>,
    waiting: Option<usize>,
}

#[derive(Clone, Copy)]
enum Stored<'a> {
    Notification(&'a NewNotification),
    Withdrawal(&'a NewWithdrawal),
}

struct Pending<'a> {
    effect: Stored<'a>,
    stream: i64,
    /// `None`: not visible.
    place: Option<Place>,
    hidden: bool,
}

/// The effects of a group, one after another, on top of what is stored.
struct Ledger<'a> {
    now_ms: i64,
    streams: Streams,
    pending: Vec<Pending<'a>>,
    standing: HashMap<Collapsing<'a>, Standing>,
    /// Keys of which something stored and seen was taken back, until a withdrawal tells it.
    taken_back: HashSet<Collapsing<'a>>,
    /// Keys of which all that is stored is replaced.
    replaced: HashSet<Collapsing<'a>>,
    /// Keys of which what is stored and waits is replaced.
    replaced_waiting: HashSet<Collapsing<'a>>,
}

pub(crate) async fn write_all(
    conn: &mut SqliteConnection,
    shares: &[&Share],
    now_ms: i64,
) -> Result<Written, sqlx::Error> {
    let mut effects: Vec<&Effect> = shares.iter().flat_map(|share| &share.effects).collect();
    if effects.is_empty() {
        return Ok(Written::default());
    }
    // What stands is never decided anew.
    let mut present = already_stored(conn, &effects).await?;
    effects.retain(|effect| !present.contains(&id_of(effect)));
    let streams = Streams::load(conn, &effects).await?;
    let taken_back = withdraw_stored(conn, &effects, &streams).await?;
    let mut ledger = Ledger {
        now_ms,
        streams,
        pending: Vec::with_capacity(effects.len()),
        standing: HashMap::new(),
        taken_back,
        replaced: HashSet::new(),
        replaced_waiting: HashSet::new(),
    };
    for effect in effects {
        let id = id_of(effect);
        // The group itself may hold it twice.
        if present.contains(&id) {
            continue;
        }
        let before = ledger.pending.len();
        match effect {
            Effect::Notify(new) => ledger.notify(new),
            Effect::Withdraw(new) => ledger.withdraw(new),
        }
        if ledger.pending.len() > before {
            present.insert(id);
        }
    }
    ledger.write(conn).await
}

impl<'a> Ledger<'a> {
    fn notify(&mut self, new: &'a NewNotification) {
        let stream = self.streams.id(&new.stream);
        let sight = Sight::of(new, self.now_ms);
        let place = (sight == Sight::Now).then(|| self.streams.advance(&new.stream, self.now_ms));
        let index = self.pending.len();
        let hidden = matches!(sight, Sight::Past | Sight::Never);
        self.pending.push(Pending {
            effect: Stored::Notification(new),
            stream,
            place,
            hidden,
        });
        let Some(key) = &new.collapse_key else { return };
        if sight == Sight::Never {
            return;
        }
        let key = (stream, new.plugin.0, key.as_str());
        let standing = self.standing.entry(key).or_default();
        // What waits replaces what waits; what is seen replaces both.
        let older_waiting = standing.waiting.take();
        let older_seen = if sight == Sight::Later {
            None
        } else {
            // Replaced before any withdrawal that follows could take it back.
            self.taken_back.remove(&key);
            standing.seen.take()
        };
        match sight {
            Sight::Later => {
                standing.waiting = Some(index);
                self.replaced_waiting.insert(key);
            }
            Sight::Now => {
                standing.seen = Some(index);
                self.replaced.insert(key);
            }
            Sight::Past | Sight::Never => {
                self.replaced.insert(key);
            }
        }
        self.hide([older_waiting, older_seen]);
    }

    fn withdraw(&mut self, new: &'a NewWithdrawal) {
        let Some(stream) = self.streams.known(&new.stream) else {
            return;
        };
        let key = (stream, new.plugin.0, new.collapse_key.as_str());
        let standing = self.standing.remove(&key).unwrap_or_default();
        self.hide([standing.seen, standing.waiting]);
        let stored_was_seen = self.taken_back.remove(&key);
        if standing.seen.is_none() && !stored_was_seen {
            // Nobody has seen it: there is nothing to tell.
            return;
        }
        let place = Some(self.streams.advance(&new.stream, self.now_ms));
        self.pending.push(Pending {
            effect: Stored::Withdrawal(new),
            stream,
            place,
            hidden: true,
        });
    }

    fn hide(&mut self, older: [Option<usize>; 2]) {
        for index in older.into_iter().flatten() {
            self.pending[index].hidden = true;
        }
    }

    async fn write(mut self, conn: &mut SqliteConnection) -> Result<Written, sqlx::Error> {
        hide(conn, "", &sorted(&self.replaced)).await?;
        hide(
            conn,
            "AND stream_offset IS NULL",
            &sorted(&self.replaced_waiting),
        )
        .await?;
        let publications = self.pending.iter().filter_map(publication).collect();
        let waiting = self.pending.iter().any(|p| p.place.is_none() && !p.hidden);
        // In the order of the keys, so that neighbours share pages.
        self.pending.sort_unstable_by_key(|p| match p.effect {
            Stored::Notification(n) => n.id,
            Stored::Withdrawal(w) => w.id,
        });
        insert(conn, &self.pending).await?;
        self.streams.write(conn).await?;
        Ok(Written {
            publications,
            waiting,
        })
    }
}

fn sorted<'a>(keys: &HashSet<Collapsing<'a>>) -> Vec<Collapsing<'a>> {
    let mut keys: Vec<_> = keys.iter().copied().collect();
    keys.sort_unstable();
    keys
}

fn id_of(effect: &Effect) -> NotificationId {
    match effect {
        Effect::Notify(new) => new.id,
        Effect::Withdraw(new) => new.id,
    }
}

async fn already_stored(
    conn: &mut SqliteConnection,
    effects: &[&Effect],
) -> Result<HashSet<NotificationId>, sqlx::Error> {
    let mut ids: Vec<NotificationId> = effects.iter().map(|effect| id_of(effect)).collect();
    ids.sort_unstable();
    let rows = bulk::fetch_on(
        conn,
        "SELECT id FROM notifications WHERE id IN (VALUES",
        1,
        ")",
        &ids,
        |row, id| row.bind(id.as_bytes()).map(drop),
    )
    .await?;
    Ok(rows
        .iter()
        .filter_map(|row| NotificationId::from_bytes(row.get(0)))
        .collect())
}

/// Hides what the withdrawals name; answers the keys of which something had been seen.
async fn withdraw_stored<'a>(
    conn: &mut SqliteConnection,
    effects: &[&'a Effect],
    streams: &Streams,
) -> Result<HashSet<Collapsing<'a>>, sqlx::Error> {
    let mut keys: Vec<Collapsing<'a>> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Withdraw(new) => streams
                .known(&new.stream)
                .map(|stream| (stream, new.plugin.0, new.collapse_key.as_str())),
            Effect::Notify(_) => None,
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let rows = bulk::fetch_on(
        conn,
        HIDE,
        3,
        &format!("{HIDE_COLLAPSING} RETURNING stream_id, plugin_id, collapse_key, stream_offset"),
        &keys,
        |row, key| row.bind(key.0)?.bind(key.1)?.bind(key.2).map(drop),
    )
    .await?;
    let seen: HashSet<(i64, i64, String)> = rows
        .iter()
        .filter(|row| row.get::<Option<i64>, _>(3).is_some())
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    Ok(keys
        .into_iter()
        .filter(|key| seen.contains(&(key.0, key.1, key.2.to_owned())))
        .collect())
}

/// Hides what collapse keys name: `HIDE (?, ?, ?), … HIDE_COLLAPSING`.
pub(crate) const HIDE: &str = "UPDATE notifications SET hidden = 1 FROM (VALUES";
pub(crate) const HIDE_COLLAPSING: &str = ") AS asked
    WHERE stream_id = asked.column1 AND plugin_id = asked.column2 AND collapse_key = asked.column3
    AND collapse_key IS NOT NULL AND hidden = 0";

/// Hides what is stored under these keys.
pub(crate) async fn hide(
    conn: &mut SqliteConnection,
    only: &str,
    keys: &[Collapsing<'_>],
) -> Result<(), sqlx::Error> {
    bulk::execute(
        conn,
        HIDE,
        3,
        &format!("{HIDE_COLLAPSING} {only}"),
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
         deliver_at_ms, expires_at_ms, digest_key, digest_window_ms, created_ms, visible_ms, correlation_id, hidden) VALUES",
        27,
        "",
        pending,
        |row, p| {
            let offset = p.place.map(|place| place.offset.cast_signed());
            let visible_ms = p.place.map(|place| place.visible_ms);
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
                    .bind(visible_ms)?
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
                    .bind(visible_ms)?
                    .bind(w.correlation_id.as_deref())?
                    .bind(i64::from(p.hidden)),
            }
            .map(drop)
        },
    )
    .await
}

fn publication(pending: &Pending<'_>) -> Option<Publication> {
    let offset = pending.place?.offset;
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
