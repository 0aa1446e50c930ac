//! What `make bench` measures of the booking service: bookings a second and how long one takes beside
//! a million that are there, and availability over a year, beside a bare insert into SQLite in the
//! same run. Prints a Markdown table. `BOOKING_ROWS` and `BOOKING_SECONDS` change the size.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use carillon_tests::api::{Api, Call};
use carillon_tests::host::{Host, Setup};
use carillon_tests::measure::{Table, from_environment, per_second};
use carillon_tests::moment::{HOUR_MS, rfc3339, this_hour_ms};
use carillon_tests::pace::quantiles;
use reqwest::StatusCode;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection};
use tokio::task::JoinSet;

const RESOURCES: i64 = 50;
const USERS: i64 = 1_000;
/// Half a year, in hours: as far ahead as is booked in the measurement.
const AHEAD_HOURS: i64 = 365 * 24 / 2;
/// A booking has three quarters of its hour; the fourth is free.
const BOOKED_MS: i64 = 45 * 60_000;
/// Each measures its own requests; one shows the latency, many the rate.
const CLIENTS: [u32; 2] = [1, 64];
const AVAILABILITY_REQUESTS: u32 = 40;

#[tokio::main]
async fn main() -> Result<()> {
    let rows = i64::from(from_environment("BOOKING_ROWS", 1_000_000)?);
    let length = Duration::from_secs(from_environment("BOOKING_SECONDS", 10)?.into());
    let mut table = Table::default();
    // With no broker configured: what is measured is the service, and not somebody else's log.
    let mut host = Setup::run().argument("--demo").start().await?;
    host.stop()?;
    let began = Instant::now();
    fill(&host.data().join("booking.db"), rows).await?;
    table.add(
        format!("filling the table with {rows} bookings"),
        format!("{:.1} s", began.elapsed().as_secs_f64()),
    );
    host.restart().await?;
    let api = Api::of(&host)?;

    let bare = bare_inserts(&host.data(), length).await?;
    table.add(
        "bare SQLite insert, one a commit, synchronous=FULL, a second",
        format!("{bare:.0}"),
    );
    let free = Arc::new(FreeQuarters::new());
    for clients in CLIENTS {
        let (rate, times) = book(&api, clients, length, &free).await?;
        table.add(
            format!("`POST /bookings` a second, {clients} clients, {rows} bookings there (times the bare insert)"),
            format!("{rate:.0} ({:.2})", rate / bare),
        );
        table.add(
            format!("`POST /bookings`, {clients} clients, p50 / p99 / max"),
            quantiles(times)?,
        );
    }
    for (what, query, days) in [
        ("one resource over a year", "&resource=bench-00", 365),
        ("50 resources over a week", "&kind=bench&limit=50", 7),
        (
            "50 resources over a year, the first page",
            "&kind=bench&limit=50",
            365,
        ),
    ] {
        let (times, bytes) = availability(&api, query, days).await?;
        table.add(
            format!("availability of {what}, p50 / p99 / max (answer)"),
            format!("{} ({} KiB)", quantiles(times)?, bytes / 1024),
        );
    }
    stop(host)?;
    println!("\n{table}");
    Ok(())
}

fn stop(mut host: Host) -> Result<()> {
    let code = host.stop()?;
    ensure!(code == 0, "{}", host.log_tail());
    Ok(())
}

/// Writes what years of use would have: 50 resources, each with a booking an hour, half of them in
/// the past. Indexes and triggers are set aside for it, and made again from their own text.
async fn fill(database: &Path, rows: i64) -> Result<()> {
    let options = SqliteConnectOptions::new().filename(database);
    let mut database = SqliteConnection::connect_with(&options).await?;
    let mut filling = database.begin().await?;
    let aside: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT type, name, sql FROM sqlite_schema
         WHERE tbl_name = 'bookings' AND type IN ('index', 'trigger') AND sql IS NOT NULL
         ORDER BY type",
    )
    .fetch_all(&mut *filling)
    .await?;
    ensure!(aside.len() > 8, "the bookings have indexes and triggers");
    for (kind, name, _) in &aside {
        // Both come from the schema.
        sqlx::query(AssertSqlSafe(format!("DROP {kind} {name}")))
            .execute(&mut *filling)
            .await?;
    }
    for sql in [NEW_RESOURCES, NEW_USERS] {
        sqlx::query(sql).execute(&mut *filling).await?;
    }
    sqlx::query(NEW_BOOKINGS)
        .bind(rows)
        .bind(RESOURCES)
        .bind(first_hour_ms(rows))
        .bind(HOUR_MS)
        .bind(BOOKED_MS)
        .bind(USERS)
        .bind(this_hour_ms())
        .execute(&mut *filling)
        .await?;
    for (_, name, sql) in aside {
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut *filling)
            .await
            .with_context(|| format!("{name} does not come back"))?;
    }
    filling.commit().await?;
    sqlx::query("ANALYZE").execute(&mut database).await?;
    database.close().await?;
    Ok(())
}

const NEW_RESOURCES: &str = "
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 49)
    INSERT INTO resources (id, name, kind, capacity, requires_approval, place, created_ms)
    SELECT printf('bench-%02d', i), printf('Bench %d', i), 'bench', 10, 0, 'Bench', 0 FROM n";

const NEW_USERS: &str = "
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
    INSERT INTO users (id, display_name, email, time_zone, locale, created_ms)
    SELECT printf('bench-%03d', i), printf('Bench %d', i), printf('bench-%d@example.com', i), 'UTC', 'en', 0
    FROM n";

/// Hour by hour, so that ids rise with time as those of version 7 do. Of those that are over one in
/// ten was cancelled and one in twenty missed; of those to come one in ten was cancelled.
const NEW_BOOKINGS: &str = "
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1),
    hours AS (SELECT i, i % ?2 AS resource, ?3 + i / ?2 * ?4 AS start_ms FROM n)
    INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms, blocked_until_ms,
                          attendees_count, version, created_ms, updated_ms)
    SELECT printf('%08x-%04x-7000-8000-%012x', (start_ms - ?4) >> 16, (start_ms - ?4) & 65535, i),
           printf('bench-%02d', resource), printf('bench-%03d', i * 7919 % ?6), printf('Meeting %d', i),
           CASE WHEN (i + i / ?2) % 10 = 0 THEN 'cancelled'
                WHEN start_ms >= ?7 THEN 'confirmed'
                WHEN (i + i / ?2) % 20 = 1 THEN 'no_show' ELSE 'checked_out' END,
           start_ms, start_ms + ?5,
           CASE WHEN start_ms >= ?7 AND (i + i / ?2) % 10 <> 0 THEN start_ms + ?5 END,
           4, 3, start_ms - ?4, start_ms
    FROM hours";

/// Half of the hours lie behind.
fn first_hour_ms(rows: i64) -> i64 {
    this_hour_ms() - rows / RESOURCES / 2 * HOUR_MS
}

/// Rows like a booking's, into a table with nothing but its key, on the same disk.
async fn bare_inserts(folder: &Path, length: Duration) -> Result<f64> {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("bare.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut database = SqliteConnection::connect_with(&options).await?;
    sqlx::query("CREATE TABLE bare (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT")
        .execute(&mut database)
        .await?;
    let text = "x".repeat(200);
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < length {
        sqlx::query("INSERT INTO bare (text) VALUES (?)")
            .bind(&text)
            .execute(&mut database)
            .await?;
        count += 1;
    }
    let rate = per_second(count, start.elapsed());
    database.close().await?;
    Ok(rate)
}

/// Books free quarters of hours to come, each once, amid what is booked.
async fn book(
    api: &Api,
    clients: u32,
    length: Duration,
    free: &Arc<FreeQuarters>,
) -> Result<(f64, Vec<Duration>)> {
    let start = Instant::now();
    let mut booking = JoinSet::new();
    for _ in 0..clients {
        let (api, free) = (api.clone(), Arc::clone(free));
        booking.spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < length {
                let call = free.next();
                let asked = Instant::now();
                let answer = api.send(&call).await?;
                times.push(asked.elapsed());
                ensure!(answer.status == StatusCode::CREATED, "{}", answer.text);
            }
            Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(booked) = booking.join_next().await {
        times.extend(booked??);
    }
    let count = i64::try_from(times.len())?;
    Ok((per_second(count, start.elapsed()), times))
}

/// The quarters that are left of hours to come, each once. They are counted from one hour: by another, when
/// the clock strikes during the run, some would come twice.
struct FreeQuarters {
    hour_ms: i64,
    number: AtomicI64,
}

impl FreeQuarters {
    fn new() -> Self {
        Self {
            hour_ms: this_hour_ms(),
            number: AtomicI64::new(0),
        }
    }

    /// The numbers walk over all resources, and over the hours of half a year in steps that leave none out.
    fn next(&self) -> Call {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let hour = 1 + number / RESOURCES * 1_009 % AHEAD_HOURS;
        let start_ms = self.hour_ms + hour * HOUR_MS + BOOKED_MS;
        let body = json!({
            "resourceId": format!("bench-{:02}", number % RESOURCES),
            "userId": format!("bench-{:03}", number * 7_919 % USERS),
            "title": format!("Measured {number}"),
            "startTime": rfc3339(start_ms), "endTime": rfc3339(start_ms + HOUR_MS - BOOKED_MS),
            "attendeesCount": 4,
        });
        Call::post("/bookings", body)
    }
}

/// Every hour of every resource is booked, which no house is: the answers are as long as they get.
async fn availability(api: &Api, query: &str, days: i64) -> Result<(Vec<Duration>, usize)> {
    let from = this_hour_ms();
    let to = from + days * 24 * HOUR_MS;
    let call = Call::get(format!(
        "/availability?from={}&to={}{query}",
        rfc3339(from),
        rfc3339(to)
    ));
    let (mut times, mut bytes) = (Vec::new(), 0);
    for _ in 0..AVAILABILITY_REQUESTS {
        let asked = Instant::now();
        bytes = api.done(&call).await?.text.len();
        times.push(asked.elapsed());
    }
    Ok((times, bytes))
}
