//! A database from before operators could load plugins.

use std::path::Path;
use std::str::FromStr as _;

use carillon_store::{DeadLetterFilter, NotificationId, ShareError, StateFate, StoreConfig};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::world::{THEN_MS, World};

const FIRST: &str = "0001_initial.sql";

/// A database that only the first migration has seen.
async fn make(folder: &Path) -> SqliteConnection {
    let first = folder.join("first");
    std::fs::create_dir(&first).unwrap();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    std::fs::copy(migrations.join(FIRST), first.join(FIRST)).unwrap();
    let mut conn = SqliteConnectOptions::from_str("sqlite:")
        .unwrap()
        .filename(folder.join("carillon.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .connect()
        .await
        .unwrap();
    let migrator = Migrator::new(first).await.unwrap();
    migrator.run(&mut conn).await.unwrap();
    conn
}

/// What a host of that time leaves: two plugins, one of them away; a notification, a decision,
/// state, and two dead letters of which one was relayed.
const FILL: &str = "
    INSERT INTO meta VALUES ('epoch', '0123456789ab');
    INSERT INTO logs VALUES (1, 'cluster', 'booking-events', 1755600000000);
    INSERT INTO plugins VALUES (1, 'one'), (2, 'two');
    INSERT INTO plugin_versions VALUES (1, 1, '1.0.0', 'abc', 1755600000000);
    INSERT INTO cursors (log_id, partition, plugin_id, next_offset, logged_at_ms) VALUES (1, 0, 0, 12, 1755600000000), (1, 0, 2, 5, 1755600000000);
    INSERT INTO streams VALUES (1, 'user:ada', 1, 1755600000001, 0);
    INSERT INTO notifications (id, stream_id, stream_offset, withdraws, plugin_id, version_id, event_id, kind, log_id,
        partition, record_offset, category, title, body, priority, created_ms, visible_ms)
        VALUES (x'0198c1b5d80080008000000000000001', 1, 1, 0, 1, 1, 'a', 'booking.created', 1, 0, 11, 'bookings', 'Title', 'Body', 1, 1755600000000, 1755600000001);
    INSERT INTO plugin_state VALUES (1, 'k', x'76', NULL);
    INSERT INTO plugin_state_versions VALUES (1, 4);
    INSERT INTO dead_letters (id, log_id, partition, record_offset, plugin_id, version_id, event_id, code, reason, attempts,
        record_key, record_value, record_headers, logged_at_ms, created_ms, relayed_ms)
        VALUES (7, 1, 0, 3, 1, 1, 'b', 'trap', 'unreachable', 5, x'6b', x'007b', '[[\"trace\",[0,255]]]', 1755600000000, 1755600000002, 1755600000003),
               (9, 1, 0, 4, 0, 0, NULL, 'not-json', 'no JSON', 0, NULL, x'3f', '[]', 1755600000000, 1755600000002, NULL);
    CREATE TABLE decisions_487666 (event_key BLOB NOT NULL, plugin_id INTEGER NOT NULL, version_id INTEGER NOT NULL,
        content_hash INTEGER NOT NULL, outcome INTEGER NOT NULL, actions INTEGER NOT NULL, attempts INTEGER NOT NULL,
        log_id INTEGER NOT NULL, partition INTEGER NOT NULL, record_offset INTEGER NOT NULL, logged_at_ms INTEGER NOT NULL,
        PRIMARY KEY (event_key, plugin_id)) WITHOUT ROWID;
    INSERT INTO decision_hours VALUES (487666);
";

async fn filled(folder: &Path) {
    let mut conn = make(folder).await;
    sqlx::raw_sql(FILL).execute(&mut conn).await.unwrap();
    let key = carillon_store::event_key("a");
    sqlx::query(
        "INSERT INTO decisions_487666 VALUES (?, 1, 1, 17, 0, 1, 1, 1, 0, 11, 1755600000000)",
    )
    .bind(key.as_slice())
    .execute(&mut conn)
    .await
    .unwrap();
    conn.close().await.unwrap();
}

#[tokio::test]
async fn nothing_of_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let world = World::at(folder.path(), StoreConfig::default()).await;
    assert_eq!(&*world.store.epoch(), "0123456789ab");
    assert_eq!(world.head(0).await, Some(12));
    assert_eq!(world.own(0).await, [(world.plugins[1], 5)]);
    assert_eq!(world.value("k").await.as_deref(), Some(b"v".as_slice()));
    let history = world.store.history("user:ada", 0, 10).await.unwrap();
    assert_eq!(history.len(), 1);
    let letters = world
        .store
        .dead_letters(&DeadLetterFilter::default(), None, 10)
        .await
        .unwrap();
    let rows: Vec<i64> = letters.iter().map(|stored| stored.row.0).collect();
    assert_eq!(rows, [9, 7]);
    let older = &letters[1];
    assert_eq!(
        (
            older.letter.value.as_deref(),
            older.letter.key.as_deref(),
            older.letter.headers.as_slice(),
            older.letter.attempts,
            older.created_ms,
            older.plugin_version.as_str(),
        ),
        (
            Some(b"\0{".as_slice()),
            Some(b"k".as_slice()),
            [("trace".to_owned(), vec![0, 255])].as_slice(),
            5,
            THEN_MS + 2,
            "1.0.0",
        )
    );
    let waiting = world.store.dead_letters_to_relay(10).await.unwrap();
    assert_eq!(waiting.len(), 1, "the other one was relayed already");
    assert_eq!(waiting[0].row.0, 9);
}

#[tokio::test]
async fn what_is_in_it_can_be_explained() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let world = World::at(folder.path(), StoreConfig::default()).await;
    let id: NotificationId = "0198c1b5-d800-8000-8000-000000000001".parse().unwrap();
    let record = world.store.notification(id).await.unwrap().unwrap();
    assert_eq!((record.offset, record.version.as_str()), (11, "1.0.0"));
    let of_record = world
        .store
        .notifications_of_record(record.log, record.partition, record.offset)
        .await
        .unwrap();
    assert_eq!(of_record.len(), 1);
    let key = carillon_store::event_key("a");
    let decisions = world.store.decisions_of(key).await.unwrap();
    assert_eq!(
        (decisions[0].offset, decisions[0].sha256.as_str()),
        (11, "abc")
    );
    assert_eq!(
        world
            .store
            .load_of_version(record.version_id)
            .await
            .unwrap(),
        None,
        "nobody wrote down how it was loaded"
    );
    let letters = world.store.dead_letters_of_event("b").await.unwrap();
    assert_eq!(letters.len(), 1);
}

#[tokio::test]
async fn what_ran_before_keeps_its_place_until_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let store = carillon_store::Store::open(folder.path(), StoreConfig::default())
        .await
        .unwrap();
    let known = || {
        let mut known = store.known_plugins();
        known.sort_unstable();
        known
    };
    assert_eq!(known().len(), 2);
    assert!(store.installs().await.unwrap().is_empty());
    let (two, _) = known()[1];
    store.uninstall(two, StateFate::Keep).await.unwrap();
    assert_eq!(known().len(), 1);
    assert_eq!(&*known()[0].1, "one");
}

#[tokio::test]
async fn it_goes_on_with_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let world = World::at(folder.path(), StoreConfig::default()).await;
    let mut share = world.share(0, Some(12), 13);
    share.dead_letters = vec![world.dead_letter(12, b"?".to_vec())];
    world.commit_one(share).await.unwrap();
    let letters = world
        .store
        .dead_letters(&DeadLetterFilter::default(), None, 10)
        .await
        .unwrap();
    assert_eq!(letters[0].row.0, 10);
    let mut repeat = world.share(1, None, 1);
    repeat.decisions = vec![world.decision("a", THEN_MS)];
    assert!(matches!(
        world.commit_one(repeat).await,
        Err(ShareError::AlreadyDecided(_))
    ));
    let load = world.load("1.0.0", "abc", THEN_MS);
    let record = world
        .store
        .record_load(world.plugins[0], load, &[])
        .await
        .unwrap();
    assert_eq!(record.version_id, world.version);
}
