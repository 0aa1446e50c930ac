//! Databases of older versions.

use std::sync::Arc;

use carillon_booking::Surroundings;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};

use crate::running::{HandClock, Running, quiet};

/// What the second version leaves behind: a user who was deleted, and one who has booked.
const LEFT: &str = "
    INSERT INTO resources (id, name, kind, capacity, requires_approval, created_ms)
        VALUES ('room-1', 'Aurora', 'room', 8, 0, 0);
    INSERT INTO users (id, display_name, email, time_zone, locale, created_ms, deleted_ms)
        VALUES ('gone', 'Hana', 'hana@example.com', 'Europe/Prague', 'cs', 0, 5),
               ('user-1', 'Jan', 'jan@example.com', 'Europe/Prague', 'cs', 0, NULL);
    INSERT INTO feeds (secret_hash, id, kind, subject_id, created_ms)
        VALUES (X'01', 'feed-1', 'user', 'gone', 0), (X'02', 'feed-2', 'user', 'user-1', 0);
    INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms, blocked_until_ms,
                          attendees_count, version, created_ms, updated_ms)
        VALUES ('booking-1', 'room-1', 'user-1', 'Retrospective', 'confirmed', 3600000, 7200000,
                7200000, 4, 2, 1000, 2000);
    INSERT INTO audit (at_ms, actor, role, correlation_id, action, subject_kind, subject_id)
        VALUES (2000, 'user-1', 'user', 'c-1', 'booking.updated', 'booking', 'booking-1')";

/// What other databases have been made with: a change of it would keep them from being opened. New tables
/// and columns go into a migration of their own.
const RELEASED: [(i64, &str); 3] = [
    (
        1,
        "ea2c2ed9ebed2b36bdd38cf490d4b8025cdc5d4a5789e8ad362c432c16ca0960",
    ),
    (
        2,
        "3f6e88e25109b1455ff81a0e1f232f7a41ffb11f7d584eaf57bc07c071a74787",
    ),
    (
        3,
        "53aabd10efabf041ad2b0e44c950b021b958b096da9e42503b0535dd296a7866",
    ),
];

#[test]
fn what_databases_were_made_with_is_not_changed_any_more() {
    let migrations = sqlx::migrate!();
    for (version, checksum) in RELEASED {
        let migration = migrations
            .iter()
            .find(|one| one.version == version)
            .unwrap();
        let bytes = migration.checksum.iter().take(32);
        let found: String = bytes.map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, checksum, "migration {version}");
    }
}

#[tokio::test]
async fn a_database_of_the_second_version_is_brought_up_to_date_with_all_that_is_in_it() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("booking.db"))
        .journal_mode(SqliteJournalMode::Wal)
        .create_if_missing(true);
    let mut older = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::migrate!().run_to(2, &mut older).await.unwrap();
    sqlx::raw_sql(LEFT).execute(&mut older).await.unwrap();
    older.close().await.unwrap();

    let running = Running::on(folder, HandClock::new(), quiet(), Surroundings::default()).await;
    let booking = running.get("/bookings/booking-1").await.json();
    assert_eq!(booking["title"], "Retrospective");
    let audit = running.get("/audit?booking=booking-1").await.json();
    assert_eq!(audit["items"].as_array().unwrap().len(), 1);
    running.get("/users/gone").await.problem(404);
    for (query, count) in [
        (
            "SELECT count(*) FROM users WHERE (display_name, email) = ('', '')",
            1,
        ),
        (
            "SELECT count(*) FROM users WHERE email = 'jan@example.com'",
            1,
        ),
        ("SELECT count(*) FROM feeds", 1),
        ("SELECT count(*) FROM feeds WHERE id = 'feed-2'", 1),
        ("SELECT count(*) FROM bookings WHERE settled_ms = 2000", 1),
    ] {
        assert_eq!(running.look(query).await, count, "{query}");
    }
}
