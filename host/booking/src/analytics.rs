//! How the place is used: figures from the tables, over a stretch of time.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use sqlx::{Row, SqliteConnection, SqlitePool};

use crate::interval::Interval;
use crate::queries::MAX_DURATION_MS;

const HOUR_MS: i64 = 60 * 60 * 1000;
const MINUTE_MS: i64 = 60 * 1000;

/// How one resource was used.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    pub(crate) resource_id: String,
    pub(crate) resource_name: String,
    pub(crate) bookings: u64,
    /// What was booked and not called off, in minutes.
    pub(crate) booked_minutes: i64,
    /// The same by the hour of the day, by the clock of the resource: 24 numbers.
    pub(crate) booked_minutes_by_hour: Vec<i64>,
}

/// How bookings went.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// Bookings that begin in that time, by what became of them.
    pub(crate) bookings_by_status: BTreeMap<String, u64>,
    /// Of the bookings whose time has come, the share to which nobody came: from 0 to 1; null where
    /// there were none.
    pub(crate) no_show_rate: Option<f64>,
    /// How long before their start bookings were made, in minutes.
    pub(crate) lead_time_minutes: LeadTime,
    pub(crate) waitlist: Waitlist,
    pub(crate) conflicts: Conflicts,
}

/// Lead times, in minutes; null where there are none.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct LeadTime {
    pub(crate) p50: Option<i64>,
    pub(crate) p90: Option<i64>,
    pub(crate) mean: Option<f64>,
}

/// Waitlist entries that were joined in that time.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Waitlist {
    pub(crate) joined: u64,
    /// By where they stand now.
    pub(crate) by_status: BTreeMap<String, u64>,
    /// The share that became bookings: from 0 to 1; null where nobody joined.
    pub(crate) conversion: Option<f64>,
}

/// Conflicts that arose in that time.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct Conflicts {
    pub(crate) detected: u64,
    pub(crate) resolved: u64,
}

/// Which bookings count as use: the time was kept from others.
const USED: &str = "('confirmed', 'checked_in', 'checked_out', 'no_show')";

/// How many bookings one answer is counted from: with more the page ends, and the next one goes on.
const MAX_COUNTED: u64 = 50_000;

/// Which resources, and when.
pub(crate) struct UsageWish {
    pub(crate) bounds: Interval,
    pub(crate) kind: Option<String>,
    /// Only after this id.
    pub(crate) after: String,
    pub(crate) limit: usize,
}

/// How resources were used between two moments, by id, and whether there are more behind the last.
pub(crate) async fn usage(
    reader: &mut SqliteConnection,
    wish: &UsageWish,
) -> Result<(Vec<Usage>, bool), sqlx::Error> {
    let resources: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT id, name, time_zone FROM resources
         WHERE id > ?1 AND (?2 IS NULL OR kind = ?2) ORDER BY id LIMIT ?3",
    )
    .bind(&wish.after)
    .bind(&wish.kind)
    .bind(i64::try_from(wish.limit + 1).unwrap_or(i64::MAX))
    .fetch_all(&mut *reader)
    .await?;
    let found = resources.len();
    let (mut page, mut counted) = (Vec::with_capacity(found), 0);
    for (id, name, zone) in resources.into_iter().take(wish.limit) {
        if counted >= MAX_COUNTED {
            break;
        }
        let zone = TimeZone::get(&zone).unwrap_or(TimeZone::UTC);
        let mut usage = Usage {
            resource_id: id,
            resource_name: name,
            bookings: 0,
            booked_minutes: 0,
            booked_minutes_by_hour: vec![0; 24],
        };
        count(reader, wish.bounds, &zone, &mut usage).await?;
        counted += usage.bookings;
        page.push(usage);
    }
    let more = page.len() < found;
    Ok((page, more))
}

/// Counts how one resource was used. Whoever left early has used it until then.
async fn count(
    reader: &mut SqliteConnection,
    bounds: Interval,
    zone: &TimeZone,
    usage: &mut Usage,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "SELECT start_ms, end_ms, COALESCE(left_ms, end_ms) AS left_ms FROM bookings
         WHERE resource_id = ? AND start_ms > ? AND start_ms < ? AND end_ms > ? AND status IN {USED}"
    );
    // Row by row: a year of bookings need not be in memory.
    let mut rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(&usage.resource_id)
        .bind(bounds.start_ms.saturating_sub(MAX_DURATION_MS))
        .bind(bounds.end_ms)
        .bind(bounds.start_ms)
        .fetch(reader);
    while let Some(row) = rows.try_next().await? {
        usage.bookings += 1;
        let booked = Interval::new(row.try_get("start_ms")?, row.try_get("left_ms")?);
        if let Some(booked) = booked.within(bounds) {
            usage.booked_minutes += booked.duration_ms() / MINUTE_MS;
            by_hour(booked, zone, &mut usage.booked_minutes_by_hour);
        }
    }
    Ok(())
}

/// Adds the minutes of a booking to the hours of the day that it lies in.
fn by_hour(booked: Interval, zone: &TimeZone, minutes: &mut [i64]) {
    let mut at_ms = booked.start_ms;
    while at_ms < booked.end_ms {
        let Ok(at) = Timestamp::from_millisecond(at_ms) else {
            return;
        };
        let local = at.to_zoned(zone.clone());
        let into_hour_ms = i64::from(local.minute()) * MINUTE_MS
            + i64::from(local.second()) * 1000
            + i64::from(local.millisecond());
        let next_ms = (at_ms - into_hour_ms + HOUR_MS).min(booked.end_ms);
        if let Some(sum) = usize::try_from(local.hour())
            .ok()
            .and_then(|hour| minutes.get_mut(hour))
        {
            *sum += (next_ms - at_ms) / MINUTE_MS;
        }
        at_ms = next_ms;
    }
}

/// How the bookings between two moments went.
pub(crate) async fn summary(
    readers: &SqlitePool,
    bounds: Interval,
    now_ms: i64,
) -> Result<Summary, sqlx::Error> {
    let bookings_by_status = counted(
        readers,
        "SELECT status, count(*) FROM bookings WHERE start_ms >= ? AND start_ms < ? GROUP BY status",
        bounds,
    )
    .await?;
    let (missed, due): (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE status = 'no_show'), count(*) FROM bookings
         WHERE start_ms >= ? AND start_ms < ?
           AND status IN ('no_show', 'checked_in', 'checked_out')",
    )
    .bind(bounds.start_ms)
    .bind(bounds.end_ms.min(now_ms))
    .fetch_one(readers)
    .await?;
    let waiting = counted(
        readers,
        "SELECT status, count(*) FROM waitlist WHERE joined_ms >= ? AND joined_ms < ? GROUP BY status",
        bounds,
    )
    .await?;
    let joined: u64 = waiting.values().sum();
    let accepted = waiting.get("accepted").copied().unwrap_or(0);
    let (detected, resolved): (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(resolved_ms) FROM conflicts WHERE created_ms >= ? AND created_ms < ?",
    )
    .bind(bounds.start_ms)
    .bind(bounds.end_ms)
    .fetch_one(readers)
    .await?;
    Ok(Summary {
        bookings_by_status,
        no_show_rate: share(missed.unsigned_abs(), due.unsigned_abs()),
        lead_time_minutes: lead_time(readers, bounds).await?,
        waitlist: Waitlist {
            joined,
            conversion: share(accepted, joined),
            by_status: waiting,
        },
        conflicts: Conflicts {
            detected: detected.unsigned_abs(),
            resolved: resolved.unsigned_abs(),
        },
    })
}

async fn counted(
    readers: &SqlitePool,
    sql: &'static str,
    bounds: Interval,
) -> Result<BTreeMap<String, u64>, sqlx::Error> {
    let rows: Vec<(String, i64)> = sqlx::query_as(sql)
        .bind(bounds.start_ms)
        .bind(bounds.end_ms)
        .fetch_all(readers)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(status, count)| (status, count.unsigned_abs()))
        .collect())
}

async fn lead_time(readers: &SqlitePool, bounds: Interval) -> Result<LeadTime, sqlx::Error> {
    let mut minutes: Vec<i64> = sqlx::query_scalar(
        "SELECT max(start_ms - created_ms, 0) / 60000 FROM bookings
         WHERE start_ms >= ? AND start_ms < ? AND status NOT IN ('held', 'expired')",
    )
    .bind(bounds.start_ms)
    .bind(bounds.end_ms)
    .fetch_all(readers)
    .await?;
    minutes.sort_unstable();
    let at = |percent: usize| {
        minutes
            .get(minutes.len().saturating_sub(1) * percent / 100)
            .copied()
    };
    let sum: i64 = minutes.iter().sum();
    Ok(LeadTime {
        p50: at(50),
        p90: at(90),
        mean: share(sum.unsigned_abs(), minutes.len() as u64),
    })
}

#[allow(clippy::cast_precision_loss)] // a share needs no more than 53 bits
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn minutes_fall_into_the_hours_of_the_wall_clock() {
        let ms = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let zone = TimeZone::get("Asia/Kolkata").unwrap();
        let mut minutes = vec![0; 24];
        // 08:45 to 10:15 in India, whose clock is half an hour off.
        let booked = Interval::new(ms("2026-08-20T03:15:00Z"), ms("2026-08-20T04:45:00Z"));
        by_hour(booked, &zone, &mut minutes);
        assert_eq!(minutes[8..11], [15, 60, 15]);
        assert_eq!(minutes.iter().sum::<i64>(), 90);
    }

    #[test]
    fn a_share_of_nothing_is_none() {
        assert_eq!(share(0, 0), None);
        assert_eq!(share(1, 4), Some(0.25));
    }
}
