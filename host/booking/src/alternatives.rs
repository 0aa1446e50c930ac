//! What else could be booked: the nearest free times of the same resource, then similar resources
//! at the same time, each with a score and the reasons for it.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use crate::availability::stretches;
use crate::interval::Interval;
use crate::queries;
use crate::record::{BookingRecord, Resource};

/// How far around the wanted time the same resource is searched, in milliseconds: a week.
const REACH_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Where a resource has more bookings than this in that time, no other time of it is suggested.
const MAX_HELD: i64 = 2_000;
/// How many similar resources are looked at.
const MAX_SIMILAR: i64 = 50;
/// How many of each kind are suggested.
const MAX_TIMES: usize = 3;
const MAX_RESOURCES: usize = 3;
/// Free times are suggested on the quarter of an hour where they can be.
const STEP_MS: i64 = 15 * 60 * 1000;
const MINUTE_MS: i64 = 60 * 1000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Of the resources that are most like the wanted one, those that are free at its time. The look-up
/// of bookings is that of the triggers.
const FREE_ELSEWHERE: &str = "
    SELECT other.* FROM (
        SELECT * FROM resources
        WHERE kind = ?1 AND capacity >= ?2 AND id <> ?3 AND deleted_ms IS NULL
        ORDER BY place = ?4 DESC, capacity, id LIMIT ?5
    ) AS other
    WHERE COALESCE((
        SELECT held.blocked_until_ms FROM bookings AS held
        WHERE held.resource_id = other.id AND held.blocked_until_ms IS NOT NULL
          AND held.start_ms < ?7 + 60000 * COALESCE(json_extract(other.rules, '$.bufferMinutes'), 0)
          AND held.id <> ?8
        ORDER BY held.start_ms DESC LIMIT 1
    ), ?6) <= ?6
    AND NOT EXISTS (
        SELECT 1 FROM unavailabilities AS closed
        WHERE closed.resource_id = other.id AND closed.end_ms > ?6 AND closed.start_ms < ?7
    )
    ORDER BY other.place = ?4 DESC, other.capacity, other.id";

/// Something else that could be booked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alternative {
    pub(crate) resource_id: String,
    pub(crate) resource_name: String,
    #[serde(flatten)]
    pub(crate) interval: Interval,
    /// From 0 to 100: the higher, the more it is like what was wanted.
    pub(crate) score: u8,
    /// Why, for people.
    pub(crate) reason: String,
}

/// What was wanted.
pub(crate) struct Wanted<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) interval: Interval,
    pub(crate) attendees_count: i64,
    /// The booking that it is for. The time that it has, if it stands, is not in its way, and no
    /// alternative to it.
    pub(crate) booking_id: &'a str,
}

impl Wanted<'_> {
    /// What could be booked instead, best first.
    pub(crate) async fn alternatives(
        &self,
        connection: &mut SqliteConnection,
        now_ms: i64,
    ) -> Result<Vec<Alternative>, sqlx::Error> {
        let own = queries::booking(&mut *connection, self.booking_id)
            .await?
            .filter(|own| own.status.holds_its_time());
        let own = own.as_ref();
        let mut found = self.other_times(connection, own, now_ms).await?;
        found.extend(self.other_resources(connection, own, now_ms).await?);
        found.sort_by(|one, other| {
            other
                .score
                .cmp(&one.score)
                .then_with(|| one.interval.cmp(&other.interval))
                .then_with(|| one.resource_id.cmp(&other.resource_id))
        });
        Ok(found)
    }

    async fn other_times(
        &self,
        connection: &mut SqliteConnection,
        own: Option<&BookingRecord>,
        now_ms: i64,
    ) -> Result<Vec<Alternative>, sqlx::Error> {
        let Some(reach) = self.reach(now_ms) else {
            return Ok(Vec::new());
        };
        let blocked = own
            .filter(|own| own.resource_id == self.resource.id)
            .and_then(BookingRecord::blocked);
        let stretches = stretches(connection, self.resource, reach, blocked, MAX_HELD).await?;
        let free = stretches.map_or_else(Vec::new, |stretches| stretches.free);
        let zone = self.resource.zone();
        let mut starts: Vec<i64> = free
            .iter()
            .filter_map(|free| self.start_in(*free))
            .filter(|start_ms| self.is_allowed(self.resource, *start_ms, &zone, now_ms))
            .filter(|start_ms| !is_at(own, self.resource, self.beginning_at(*start_ms)))
            .collect();
        starts.sort_unstable_by_key(|start_ms| (self.distance_ms(*start_ms), *start_ms));
        let times = starts.into_iter().take(MAX_TIMES).map(|start_ms| {
            let distance_ms = self.distance_ms(start_ms);
            Alternative {
                resource_id: self.resource.id.clone(),
                resource_name: self.resource.name.clone(),
                interval: self.beginning_at(start_ms),
                score: score_of_time(distance_ms),
                reason: format!(
                    "the same {}, {} {}",
                    self.resource.kind,
                    in_words(distance_ms),
                    if start_ms < self.interval.start_ms {
                        "earlier"
                    } else {
                        "later"
                    },
                ),
            }
        });
        Ok(times.collect())
    }

    /// Where the same resource is searched: no further than it may be booked at this moment.
    fn reach(&self, now_ms: i64) -> Option<Interval> {
        let rules = &self.resource.rules;
        let earliest_ms = now_ms.saturating_add(i64::from(rules.min_lead_minutes) * MINUTE_MS);
        let latest_ms = rules.max_lead_days.map_or(i64::MAX, |days| {
            now_ms.saturating_add(i64::from(days) * DAY_MS + self.interval.duration_ms())
        });
        let reach = Interval::new(
            (self.interval.start_ms - REACH_MS).max(earliest_ms),
            (self.interval.end_ms + REACH_MS).min(latest_ms),
        );
        (reach.start_ms < reach.end_ms).then_some(reach)
    }

    /// The nearest start in a free stretch at which the whole fits.
    fn start_in(&self, free: Interval) -> Option<i64> {
        let latest_ms = free.end_ms - self.interval.duration_ms();
        if latest_ms < free.start_ms {
            return None;
        }
        let wanted_ms = self.interval.start_ms;
        let nearest_ms = wanted_ms.clamp(free.start_ms, latest_ms);
        // Towards the inside of the stretch.
        let rounded_ms = if nearest_ms < wanted_ms {
            nearest_ms.div_euclid(STEP_MS) * STEP_MS
        } else {
            -(-nearest_ms).div_euclid(STEP_MS) * STEP_MS
        };
        let fits = (free.start_ms..=latest_ms).contains(&rounded_ms);
        Some(if fits { rounded_ms } else { nearest_ms })
    }

    fn beginning_at(&self, start_ms: i64) -> Interval {
        Interval::new(start_ms, start_ms + self.interval.duration_ms())
    }

    fn distance_ms(&self, start_ms: i64) -> i64 {
        (start_ms - self.interval.start_ms).abs()
    }

    fn is_allowed(&self, resource: &Resource, start_ms: i64, zone: &TimeZone, now_ms: i64) -> bool {
        let interval = self.beginning_at(start_ms);
        start_ms >= now_ms && resource.rules.allow(interval, zone, now_ms).is_ok()
    }

    async fn other_resources(
        &self,
        connection: &mut SqliteConnection,
        own: Option<&BookingRecord>,
        now_ms: i64,
    ) -> Result<Vec<Alternative>, sqlx::Error> {
        let free: Vec<Resource> = sqlx::query_as(FREE_ELSEWHERE)
            .bind(&self.resource.kind)
            .bind(self.attendees_count)
            .bind(&self.resource.id)
            .bind(&self.resource.place)
            .bind(MAX_SIMILAR)
            .bind(self.interval.start_ms)
            .bind(self.interval.end_ms)
            .bind(self.booking_id)
            .fetch_all(&mut *connection)
            .await?;
        let start_ms = self.interval.start_ms;
        let found = free
            .iter()
            .filter(|other| self.is_allowed(other, start_ms, &other.zone(), now_ms))
            .filter(|other| !is_at(own, other, self.interval))
            .take(MAX_RESOURCES)
            .map(|other| self.instead(other));
        Ok(found.collect())
    }

    fn instead(&self, resource: &Resource) -> Alternative {
        let mut score = 85;
        let mut reasons = vec!["the same time".to_owned()];
        if resource.place == self.resource.place {
            if !resource.place.is_empty() {
                reasons.push("at the same place".to_owned());
            }
        } else {
            score -= 20;
            reasons.push(match resource.place.as_str() {
                "" => "at another place".to_owned(),
                place => format!("at {place}"),
            });
        }
        // A hall for two people is no good stand-in for a small room.
        if resource.capacity > 2 * self.resource.capacity {
            score -= 10;
        }
        if resource.requires_approval && !self.resource.requires_approval {
            score -= 15;
            reasons.push("after approval".to_owned());
        }
        reasons.push(format!("for up to {} people", resource.capacity));
        Alternative {
            resource_id: resource.id.clone(),
            resource_name: resource.name.clone(),
            interval: self.interval,
            score,
            reason: format!("another {}, {}", resource.kind, reasons.join(", ")),
        }
    }
}

/// Whether a booking stands at this time of a resource already.
fn is_at(own: Option<&BookingRecord>, resource: &Resource, interval: Interval) -> bool {
    own.is_some_and(|own| own.resource_id == resource.id && own.interval() == interval)
}

/// Half an hour off is nearly as good; a week off is better than nothing.
fn score_of_time(distance_ms: i64) -> u8 {
    let hours = distance_ms / HOUR_MS;
    match hours {
        0 => 95,
        1..=3 => 90 - u8::try_from(hours * 3).unwrap_or(9),
        4..=23 => 75 - u8::try_from(hours).unwrap_or(23),
        _ => 50 - u8::try_from((hours / 24).min(7) * 5).unwrap_or(35),
    }
}

fn in_words(distance_ms: i64) -> String {
    let minutes = distance_ms / 60_000;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) if hours < 48 => format!("{hours} h"),
        (hours, minutes) if hours < 48 => format!("{hours} h {minutes} min"),
        (hours, _) => format!("{} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use sqlx::{Connection, Row};

    use super::*;

    #[tokio::test]
    async fn which_resources_are_free_is_one_query_with_one_look_into_an_index_for_each() {
        let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::migrate!().run(&mut database).await.unwrap();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {FREE_ELSEWHERE}"));
        let rows = sqlx::query(explain).fetch_all(&mut database).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        for step in [
            "SEARCH resources USING INDEX resources_by_kind",
            "SEARCH held USING INDEX bookings_holding (resource_id=? AND start_ms<?)",
            "SEARCH closed USING COVERING INDEX unavailabilities_by_end",
        ] {
            let is_there = plan.iter().any(|found| found.starts_with(step));
            assert!(is_there, "{step}: {plan:?}");
        }
    }

    #[test]
    fn the_nearer_a_time_the_higher_its_score() {
        let hours = [0, 1, 2, 3, 4, 12, 23, 24, 48, 100, 168];
        let scores: Vec<u8> = hours.map(|hours| score_of_time(hours * HOUR_MS)).into();
        assert!(
            scores.windows(2).all(|pair| pair[0] >= pair[1]),
            "{scores:?}"
        );
        assert!(scores.iter().all(|score| *score > 0));
        assert_eq!(in_words(45 * 60_000), "45 min");
        assert_eq!(in_words(2 * HOUR_MS), "2 h");
        assert_eq!(in_words(HOUR_MS + 1_800_000), "1 h 30 min");
        assert_eq!(in_words(72 * HOUR_MS), "3 days");
    }
}
