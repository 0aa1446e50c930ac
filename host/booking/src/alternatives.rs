//! What else could be booked: the nearest free times of the same resource, then similar resources
//! at the same time, each with a score and the reasons for it.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use crate::interval::{Interval, merged, without};
use crate::queries;
use crate::record::Resource;

/// How far around the wanted time the same resource is searched, in milliseconds: a week.
const REACH_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// How many bookings of that time are looked at.
const MAX_HOLDING: i64 = 2_000;
/// How many similar resources are looked at.
const MAX_SIMILAR: i64 = 50;
/// How many of each kind are suggested.
const MAX_TIMES: usize = 3;
const MAX_RESOURCES: usize = 3;
/// Free times are suggested on the quarter of an hour where they can be.
const STEP_MS: i64 = 15 * 60 * 1000;
const HOUR_MS: i64 = 60 * 60 * 1000;

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
}

impl Wanted<'_> {
    /// What could be booked instead, best first.
    pub(crate) async fn alternatives(
        &self,
        connection: &mut SqliteConnection,
        now_ms: i64,
    ) -> Result<Vec<Alternative>, sqlx::Error> {
        let mut found = self.other_times(connection, now_ms).await?;
        found.extend(self.other_resources(connection, now_ms).await?);
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
        now_ms: i64,
    ) -> Result<Vec<Alternative>, sqlx::Error> {
        let reach = Interval::new(
            (self.interval.start_ms - REACH_MS).max(now_ms),
            self.interval.end_ms + REACH_MS,
        );
        if reach.start_ms >= reach.end_ms {
            return Ok(Vec::new());
        }
        let free = free_times(connection, self.resource, reach).await?;
        let zone = self.resource.zone();
        let mut starts: Vec<i64> = free
            .iter()
            .flat_map(|free| self.starts_in(*free))
            .filter(|start_ms| self.is_allowed(self.resource, *start_ms, &zone, now_ms))
            .collect();
        starts.sort_unstable_by_key(|start_ms| (self.distance_ms(*start_ms), *start_ms));
        starts.dedup();
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

    /// The first, the nearest and the last start of a free stretch at which the whole would fit.
    fn starts_in(&self, free: Interval) -> Vec<i64> {
        let blocked_ms =
            self.resource.rules.blocked_until_ms(self.interval.end_ms) - self.interval.start_ms;
        let latest_ms = free.end_ms - blocked_ms;
        if latest_ms < free.start_ms {
            return Vec::new();
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
        vec![if fits { rounded_ms } else { nearest_ms }]
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
        now_ms: i64,
    ) -> Result<Vec<Alternative>, sqlx::Error> {
        let similar: Vec<Resource> = sqlx::query_as(
            "SELECT * FROM resources
             WHERE kind = ? AND capacity >= ? AND id <> ? AND deleted_ms IS NULL
             ORDER BY place = ? DESC, capacity, id LIMIT ?",
        )
        .bind(&self.resource.kind)
        .bind(self.attendees_count)
        .bind(&self.resource.id)
        .bind(&self.resource.place)
        .bind(MAX_SIMILAR)
        .fetch_all(&mut *connection)
        .await?;
        let mut found = Vec::new();
        for resource in similar {
            if found.len() == MAX_RESOURCES {
                break;
            }
            if !self.is_allowed(&resource, self.interval.start_ms, &resource.zone(), now_ms) {
                continue;
            }
            let needed = Interval::new(
                self.interval.start_ms,
                resource.rules.blocked_until_ms(self.interval.end_ms),
            );
            let is_free = free_times(connection, &resource, needed)
                .await?
                .iter()
                .any(|free| free.contains(needed));
            if is_free {
                found.push(self.instead(&resource));
            }
        }
        Ok(found)
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

/// When nobody holds the resource and it can be used, opening hours aside: they are for whoever
/// begins and ends there, not for what the resource needs afterwards.
pub(crate) async fn free_times(
    connection: &mut SqliteConnection,
    resource: &Resource,
    bounds: Interval,
) -> Result<Vec<Interval>, sqlx::Error> {
    let held = queries::holding(&mut *connection, &resource.id, bounds, MAX_HOLDING).await?;
    let closed = queries::unavailable(&mut *connection, &resource.id, bounds, MAX_HOLDING).await?;
    let taken = held.into_iter().map(|(_, interval)| interval).chain(closed);
    Ok(without(&[bounds], &merged(taken.collect())))
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
    use super::*;

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
