//! What a group commit costs an event: decision, notification, offset in a stream, cursor.
//!
//! Beside it, in the same run, the least that SQLite itself asks for: the same bytes in two
//! plain tables, with the same keys, many rows a statement, one transaction a group, equally
//! durable.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use carillon_store::{
    CursorMove, Decision, Effect, Lane, LogId, NewNotification, NotificationId, Outcome, PluginId,
    Priority, Share, Source, Store, StoreConfig, VersionId, event_key,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::runtime::Runtime;

const EVENTS: i64 = 512;
const SHARES: i64 = 8;
const USERS: i64 = 200;
const THEN_MS: i64 = 1_755_600_000_000;
const ROWS_A_STATEMENT: usize = 128;

struct Bench {
    store: Store,
    log: LogId,
    plugin: PluginId,
    version: VersionId,
    /// Groups so far.
    round: i64,
}

impl Bench {
    async fn open(folder: &Path) -> Self {
        let store = Store::open(folder, StoreConfig::default()).await.unwrap();
        let log = store
            .log("cluster", "booking-events", THEN_MS)
            .await
            .unwrap();
        let plugin = store.plugin("booking-updates").await.unwrap();
        let version = store
            .plugin_version(plugin, "1.0.0", "abc", THEN_MS)
            .await
            .unwrap();
        Self {
            store,
            log,
            plugin,
            version,
            round: 0,
        }
    }

    fn group(&mut self) -> Vec<Share> {
        let each = EVENTS / SHARES;
        let from = self.round * each;
        self.round += 1;
        (0..SHARES)
            .map(|partition| {
                let cursor = CursorMove {
                    log: self.log,
                    partition: i32::try_from(partition).unwrap(),
                    lane: Lane::Head,
                    expected: (from > 0).then_some(from),
                    next: from + each,
                    logged_at_ms: THEN_MS + from,
                    retry: None,
                };
                let mut share = Share::moving(cursor);
                for offset in from..from + each {
                    let event = Event::new(partition, offset);
                    share.decisions.push(self.decision(&event));
                    share
                        .effects
                        .push(Effect::Notify(Box::new(self.notification(&event))));
                }
                share
            })
            .collect()
    }

    fn source(&self, event: &Event) -> Source {
        Source {
            log: self.log,
            partition: i32::try_from(event.partition).unwrap(),
            offset: event.offset,
            logged_at_ms: event.time_ms,
        }
    }

    fn decision(&self, event: &Event) -> Decision {
        Decision {
            event_key: event_key(&event.id),
            content_hash: 0x1234_5678_9abc_def0,
            plugin: self.plugin,
            version: self.version,
            outcome: Outcome::Handled,
            actions: 1,
            attempts: 1,
            source: self.source(event),
            replaces: false,
        }
    }

    fn notification(&self, event: &Event) -> NewNotification {
        NewNotification {
            id: event.notification_id(),
            stream: event.stream.as_str().into(),
            plugin: self.plugin,
            plugin_name: "booking-updates".into(),
            version: self.version,
            event_id: event.id.clone(),
            kind: "booking.confirmed".to_owned(),
            source: self.source(event),
            category: "bookings".to_owned(),
            title: "Your booking of room-1 is confirmed".to_owned(),
            body: "Room 1, tomorrow from 9:00 to 10:00. Check in at the door; it is held for 15 minutes.".to_owned(),
            data: Some(
                serde_json::value::RawValue::from_string(format!("{{\"bookingId\":\"{}\",\"room\":\"room-1\"}}", event.id))
                    .unwrap(),
            ),
            link: Some("/bookings/4711".to_owned()),
            channels: None,
            priority: Priority::Normal,
            collapse_key: Some(format!("booking:{}", event.id)),
            deliver_at_ms: None,
            expires_at_ms: None,
            digest_key: None,
            digest_window_ms: None,
            correlation_id: Some(event.id.clone()),
        }
    }
}

struct Event {
    partition: i64,
    offset: i64,
    id: String,
    stream: String,
    time_ms: i64,
}

impl Event {
    fn new(partition: i64, offset: i64) -> Self {
        let user = (offset * SHARES + partition) % USERS;
        Self {
            partition,
            offset,
            id: uuid_of(THEN_MS + offset, partition, offset),
            stream: format!("user:user-{user}"),
            time_ms: THEN_MS + offset,
        }
    }

    fn notification_id(&self) -> NotificationId {
        NotificationId::derive(
            self.time_ms,
            &self.id,
            "booking-updates",
            &self.stream,
            "bookings",
            None,
            0,
        )
    }
}

/// A UUID of version 7, as most producers draw them.
fn uuid_of(time_ms: i64, partition: i64, offset: i64) -> String {
    let time = format!("{time_ms:012x}");
    format!(
        "{}-{}-7000-{:04x}-{:012x}",
        &time[..8],
        &time[8..],
        0x8000 | partition,
        offset
    )
}

/// The rows of a group as two keys and two values each.
struct Bare {
    conn: SqliteConnection,
}

impl Bare {
    async fn open(folder: &Path) -> Self {
        let mut conn = SqliteConnectOptions::new()
            .filename(folder.join("bare.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", "-65536")
            .pragma("wal_autocheckpoint", "4000")
            .disable_statement_logging()
            .connect()
            .await
            .unwrap();
        for table in ["notification", "decision"] {
            let sql = format!(
                "CREATE TABLE {table} (id BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
            );
            sqlx::query(AssertSqlSafe(sql))
                .execute(&mut conn)
                .await
                .unwrap();
        }
        Self { conn }
    }

    async fn write(&mut self, table: &str, rows: &[(Vec<u8>, Vec<u8>)]) {
        for rows in rows.chunks(ROWS_A_STATEMENT) {
            let marks = vec!["(?,?)"; rows.len()].join(",");
            let sql = format!("INSERT INTO {table} VALUES {marks}");
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for (id, value) in rows {
                query = query.bind(id.as_slice()).bind(value.as_slice());
            }
            query.execute(&mut self.conn).await.unwrap();
        }
    }

    async fn group(&mut self, rows: &[[(Vec<u8>, Vec<u8>); 2]]) {
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut self.conn)
            .await
            .unwrap();
        for (table, which) in [("notification", 0), ("decision", 1)] {
            let rows: Vec<_> = rows.iter().map(|row| row[which].clone()).collect();
            self.write(table, &rows).await;
        }
        sqlx::query("COMMIT").execute(&mut self.conn).await.unwrap();
    }
}

/// As many bytes as the columns of the notification and of the decision take.
fn bare_rows(shares: &[Share]) -> Vec<[(Vec<u8>, Vec<u8>); 2]> {
    let mut rows = Vec::new();
    for share in shares {
        for (decision, effect) in share.decisions.iter().zip(&share.effects) {
            let Effect::Notify(new) = effect else {
                continue;
            };
            let texts = [
                &new.event_id,
                &new.kind,
                &new.category,
                &new.title,
                &new.body,
            ];
            let optional = [
                new.link.as_ref(),
                new.collapse_key.as_ref(),
                new.correlation_id.as_ref(),
            ];
            let mut value: Vec<u8> = texts
                .into_iter()
                .chain(optional.into_iter().flatten())
                .flat_map(|t| t.bytes())
                .collect();
            value.extend(
                new.data
                    .as_ref()
                    .map(|data| data.get().bytes())
                    .into_iter()
                    .flatten(),
            );
            value.extend([0; 40]);
            let id = new.id.to_string().replace('-', "");
            let id: Vec<u8> = (0..16)
                .map(|n| u8::from_str_radix(&id[n * 2..n * 2 + 2], 16).unwrap())
                .collect();
            rows.push([(id, value), (decision.event_key.to_vec(), vec![0; 40])]);
        }
    }
    rows
}

fn timed(runtime: &Runtime, iterations: u64, mut once: impl AsyncFnMut() -> Duration) -> Duration {
    runtime.block_on(async {
        let mut spent = Duration::ZERO;
        for _ in 0..iterations {
            spent += once().await;
        }
        spent
    })
}

fn commits(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut bench = runtime.block_on(Bench::open(folder.path()));
    let mut bare = runtime.block_on(Bare::open(folder.path()));
    let mut group = criterion.benchmark_group("group of 512 events");
    group
        .throughput(Throughput::Elements(EVENTS.unsigned_abs()))
        .sample_size(20);
    group.bench_function("carillon", |bencher| {
        bencher.iter_custom(|iterations| {
            timed(&runtime, iterations, async || {
                let shares = bench.group();
                let started = Instant::now();
                let results = bench.store.commit(&shares).await;
                let spent = started.elapsed();
                assert!(results.iter().all(Result::is_ok));
                spent
            })
        });
    });
    let mut other = runtime.block_on(async {
        let (log, plugin, version) = (bench.log, bench.plugin, bench.version);
        Bench {
            store: bench.store.clone(),
            log,
            plugin,
            version,
            round: 0,
        }
    });
    group.bench_function("bare SQLite, the same bytes", |bencher| {
        bencher.iter_custom(|iterations| {
            timed(&runtime, iterations, async || {
                let rows = bare_rows(&other.group());
                let started = Instant::now();
                bare.group(&rows).await;
                started.elapsed()
            })
        });
    });
    group.finish();
    runtime.block_on(async { bare.conn.close().await.unwrap() });
}

fn lookups(criterion: &mut Criterion) {
    const HOURS: i64 = 25;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut bench = runtime.block_on(Bench::open(folder.path()));
    runtime.block_on(async {
        for hour in 0..HOURS {
            for _ in 0..8 {
                let mut shares = bench.group();
                for share in &mut shares {
                    share.effects.clear();
                    for decision in &mut share.decisions {
                        decision.source.logged_at_ms = THEN_MS + hour * 3_600_000;
                    }
                }
                assert!(bench.store.commit(&shares).await.iter().all(Result::is_ok));
            }
        }
    });
    let keys: Vec<[u8; 16]> = (0..EVENTS)
        .map(|n| event_key(&uuid_of(THEN_MS + 1_000_000, 99, n)))
        .collect();
    let mut group = criterion.benchmark_group("looking up 512 new events");
    group
        .throughput(Throughput::Elements(EVENTS.unsigned_abs()))
        .sample_size(20);
    group.bench_function("over a full window", |bencher| {
        bencher.iter(|| {
            assert!(
                runtime
                    .block_on(bench.store.decided(&keys))
                    .unwrap()
                    .is_empty()
            )
        });
    });
    group.finish();
}

criterion_group!(benches, commits, lookups);
criterion_main!(benches);
