//! A new series: every occurrence is a booking of its own, and all of them are made in one change.

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use crate::changes::booking::{NewBooking, Obstructed, Refused, Taken, not_placed};
use crate::changes::conflicts::OpenConflict;
use crate::changes::freed::GivenUp;
use crate::changes::occurrence::{Obstacle, Occurrence, Outcome};
use crate::command::Command;
use crate::error::WriteError;
use crate::queries;
use crate::record::{BookingRecord, Resource, User};
use crate::recurrence::Expansion;
use crate::series::SeriesRecord;
use crate::work::{Subject, Work};

/// For how many conflicts of one series other times are looked for. The look is dear, and whoever
/// waits to write waits for it.
const MAX_WITH_ALTERNATIVES: usize = 10;

/// What to do when an occurrence has no place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnConflict {
    /// Make none at all.
    #[default]
    Refuse,
    /// Make the others.
    Skip,
}

/// What a series is to be. Its values have been checked, except against the tables.
pub(crate) struct NewSeries {
    /// The first occurrence.
    pub(crate) first: NewBooking,
    pub(crate) rule: String,
    pub(crate) time_zone: String,
    pub(crate) first_local: DateTime,
    pub(crate) expansion: Expansion,
    pub(crate) on_conflict: OnConflict,
}

/// Asks for a series.
pub(crate) struct CreateSeries {
    pub(crate) new: NewSeries,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum SeriesCreated {
    /// It stands, with all its occurrences or all that had a place.
    Made {
        series: SeriesRecord,
        occurrences: Vec<Occurrence>,
        /// Local times that the rule names and the clocks leave out; by the table of zones of that
        /// day, which may be another when the answer is repeated.
        left_out: Vec<DateTime>,
    },
    /// Nothing was made, whatever the occurrences.
    Refused(Refused),
    /// Nothing was made, since one occurrence begins before another one is over.
    OverlapsItself { buffer_minutes: u32 },
    /// Nothing was made, since occurrences have no place.
    NoPlace(NoPlace),
}

/// Occurrences that have no place, among those that would have one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NoPlace {
    pub(crate) occurrences: Vec<Occurrence>,
    /// The first of those whose time is taken, told as a conflict.
    pub(crate) first: Option<Taken>,
}

impl NoPlace {
    /// Whether some of the occurrences would have had a place.
    pub(crate) fn has_possible(&self) -> bool {
        let mut outcomes = self.occurrences.iter().map(|one| one.outcome);
        outcomes.any(|outcome| outcome == Outcome::Possible)
    }
}

impl Command for CreateSeries {
    type Done = SeriesCreated;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<SeriesCreated, WriteError> {
        work.create_series(&self.new).await
    }
}

impl Work<'_> {
    async fn create_series(&mut self, new: &NewSeries) -> Result<SeriesCreated, WriteError> {
        let first = &new.first;
        let Some(resource) = queries::resource(&mut *self.connection, &first.resource_id).await?
        else {
            return Ok(SeriesCreated::Refused(Refused::NoResource));
        };
        let Some(user) = queries::user(&mut *self.connection, &first.user_id).await? else {
            return Ok(SeriesCreated::Refused(Refused::NoUser));
        };
        if first.attendees_count > resource.capacity {
            let capacity = resource.capacity;
            return Ok(SeriesCreated::Refused(Refused::TooMany { capacity }));
        }
        if new.overlaps_itself(&resource) {
            let buffer_minutes = resource.rules.buffer_minutes;
            return Ok(SeriesCreated::OverlapsItself { buffer_minutes });
        }
        let conflict = match self.named_conflict(first).await? {
            Ok(conflict) => conflict,
            Err(refused) => return Ok(SeriesCreated::Refused(refused)),
        };
        let series = new.record(self.now_ms);
        self.begin_part().await?;
        let mut given_up = GivenUp::default();
        if let Some(conflict) = &conflict {
            self.give_way(conflict, &mut given_up).await?;
        }
        self.add_series(&series).await?;
        let mut occurrences = Vec::with_capacity(new.expansion.starts.len());
        let mut obstructed = Vec::new();
        for (_, start_ms) in &new.expansion.starts {
            let booking =
                new.occurrence(&series, self.made(first, &resource), *start_ms, &resource);
            occurrences.push(
                self.add_occurrence(booking, &resource, &user, &mut obstructed)
                    .await?,
            );
        }
        let booked = |occurrence: &&Occurrence| occurrence.outcome == Outcome::Booked;
        let stands = match new.on_conflict {
            OnConflict::Refuse => occurrences.iter().all(|occurrence| booked(&occurrence)),
            OnConflict::Skip => occurrences.iter().any(|occurrence| booked(&occurrence)),
        };
        if !stands {
            self.take_back_part().await?;
            if let (Some(conflict), Some(first)) = (&conflict, obstructed.first_mut()) {
                conflict.met_again_by(&mut first.booking);
            }
            return Ok(SeriesCreated::NoPlace(
                self.no_place(occurrences, obstructed).await?,
            ));
        }
        if let Some(conflict) = &conflict {
            self.resolve_by_series(conflict, &occurrences).await?;
        }
        self.tell_skipped(&mut occurrences, obstructed).await?;
        self.freed(given_up).await?;
        self.end_part().await?;
        Ok(SeriesCreated::Made {
            series,
            occurrences,
            left_out: new.expansion.left_out.clone(),
        })
    }

    async fn add_series(&mut self, series: &SeriesRecord) -> Result<(), WriteError> {
        sqlx::query(
            "INSERT INTO series (id, resource_id, user_id, rule, time_zone, first_local,
                                 duration_ms, version, created_ms, updated_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&series.id)
        .bind(&series.resource_id)
        .bind(&series.user_id)
        .bind(&series.rule)
        .bind(&series.time_zone)
        .bind(&series.first_local)
        .bind(series.duration_ms)
        .bind(series.version)
        .bind(series.created_ms)
        .bind(series.updated_ms)
        .execute(&mut *self.connection)
        .await?;
        self.note(
            "series.created",
            Subject::Series,
            &series.id,
            None,
            Some(series),
        )
        .await
    }

    /// Books one occurrence; where its time is taken, it joins those that are obstructed.
    async fn add_occurrence(
        &mut self,
        booking: BookingRecord,
        resource: &Resource,
        user: &User,
        obstructed: &mut Vec<Obstructed>,
    ) -> Result<Occurrence, WriteError> {
        let interval = booking.interval();
        let rule = resource
            .rules
            .allow(interval, &resource.zone(), self.now_ms);
        if let Err(broken) = rule {
            return Ok(Occurrence::without_place(
                interval,
                Obstacle::of_rule(broken),
            ));
        }
        let placed = self.add(&booking, resource, user).await?;
        let Some(placed) = not_placed(placed) else {
            self.resolve_wanted(&booking).await?;
            return Ok(Occurrence {
                interval,
                outcome: Outcome::Booked,
                booking_id: Some(booking.id),
                obstacle: None,
                conflict_id: None,
            });
        };
        let in_the_way = self.in_the_way(&booking, resource).await?;
        let occurrence =
            Occurrence::without_place(interval, Obstacle::of_others(placed, &in_the_way));
        obstructed.push(Obstructed {
            booking,
            resource: resource.clone(),
            placed,
            in_the_way,
        });
        Ok(occurrence)
    }

    /// Resolves the conflict that a series names by the first occurrence that it has.
    async fn resolve_by_series(
        &mut self,
        conflict: &OpenConflict,
        occurrences: &[Occurrence],
    ) -> Result<(), WriteError> {
        let first = occurrences.iter().find_map(|one| one.booking_id.as_deref());
        let Some(first) = first else { return Ok(()) };
        match queries::booking(&mut *self.connection, first).await? {
            Some(booking) => self.resolve_instead(conflict, &booking).await,
            None => Ok(()),
        }
    }

    /// Tells a conflict for each occurrence whose time is taken.
    async fn tell_skipped(
        &mut self,
        occurrences: &mut [Occurrence],
        obstructed: Vec<Obstructed>,
    ) -> Result<(), WriteError> {
        for (place, one) in obstructed.into_iter().enumerate() {
            let alternatives = match place < MAX_WITH_ALTERNATIVES {
                true => self.alternatives_to(&one.booking, &one.resource).await?,
                false => Vec::new(),
            };
            let interval = one.booking.interval();
            let taken = self.tell_taken(one, alternatives).await?;
            let told = occurrences
                .iter_mut()
                .find(|occurrence| occurrence.interval == interval);
            if let Some(occurrence) = told {
                occurrence.conflict_id = Some(taken.conflict_id);
            }
        }
        Ok(())
    }

    /// What to answer once everything is taken back; tells the first conflict.
    pub(crate) async fn no_place(
        &mut self,
        mut occurrences: Vec<Occurrence>,
        obstructed: Vec<Obstructed>,
    ) -> Result<NoPlace, WriteError> {
        for occurrence in &mut occurrences {
            occurrence.outcome = match occurrence.obstacle {
                None => Outcome::Possible,
                Some(_) => Outcome::Refused,
            };
        }
        let first = match obstructed.into_iter().next() {
            None => None,
            Some(one) => {
                let alternatives = self.alternatives_to(&one.booking, &one.resource).await?;
                Some(self.tell_taken(one, alternatives).await?)
            }
        };
        Ok(NoPlace { occurrences, first })
    }
}

impl NewSeries {
    fn record(&self, now_ms: i64) -> SeriesRecord {
        SeriesRecord {
            id: uuid::Uuid::now_v7().to_string(),
            resource_id: self.first.resource_id.clone(),
            user_id: self.first.user_id.clone(),
            rule: self.rule.clone(),
            time_zone: self.time_zone.clone(),
            first_local: self.first_local.to_string(),
            duration_ms: self.first.interval.duration_ms(),
            version: 1,
            created_ms: now_ms,
            updated_ms: now_ms,
        }
    }

    /// Every occurrence lasts as long as the first (RFC 5545, section 3.8.5.3).
    fn occurrence(
        &self,
        series: &SeriesRecord,
        made: BookingRecord,
        start_ms: i64,
        resource: &Resource,
    ) -> BookingRecord {
        let end_ms = start_ms + series.duration_ms;
        BookingRecord {
            start_ms,
            end_ms,
            blocked_until_ms: Some(resource.rules.blocked_until_ms(end_ms)),
            series_id: Some(series.id.clone()),
            occurrence_ms: Some(start_ms),
            ..made
        }
    }

    fn overlaps_itself(&self, resource: &Resource) -> bool {
        let duration_ms = self.first.interval.duration_ms();
        self.expansion
            .starts
            .windows(2)
            .any(|pair| resource.rules.blocked_until_ms(pair[0].1 + duration_ms) > pair[1].1)
    }
}
