//! Another time of one occurrence of a series, for the others.

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use crate::changes::edit::BookingEdit;
use crate::record::BookingRecord;
use crate::recurrence::{moment_or_after, wall_clock};
use crate::series::SeriesRecord;

/// How another time of one occurrence moves the others: as far by the wall clock, and as much longer
/// or shorter.
pub(super) struct Shift {
    zone: TimeZone,
    /// None where the times stay.
    by: Option<(SignedDuration, i64)>,
}

impl Shift {
    pub(super) fn of(named: &BookingRecord, edit: &BookingEdit, series: &SeriesRecord) -> Self {
        let zone = TimeZone::get(&series.time_zone).unwrap_or(TimeZone::UTC);
        let start_ms = edit.start_ms.unwrap_or(named.start_ms);
        let duration_ms = named.interval().duration_ms();
        let end_ms = match (edit.end_ms, edit.start_ms) {
            (Some(end_ms), _) => end_ms,
            (None, Some(start_ms)) => start_ms + duration_ms,
            (None, None) => named.end_ms,
        };
        let is_moved = (start_ms, end_ms) != (named.start_ms, named.end_ms);
        let shift = || {
            let (to, from) = (
                wall_clock(&zone, start_ms)?,
                wall_clock(&zone, named.start_ms)?,
            );
            Some((to.duration_since(from), end_ms - start_ms - duration_ms))
        };
        let by = is_moved.then(shift).flatten();
        Self { zone, by }
    }

    /// The change for another occurrence.
    pub(super) fn applied_to(
        &self,
        member: &BookingRecord,
        edit: &BookingEdit,
    ) -> Result<BookingEdit, &'static str> {
        let Some((shift, growth_ms)) = self.by else {
            // The times that came along are those of the one that is named.
            return Ok(BookingEdit {
                start_ms: None,
                end_ms: None,
                ..edit.clone()
            });
        };
        let start_ms = || {
            let local = wall_clock(&self.zone, member.start_ms)?;
            moment_or_after(&self.zone, local.checked_add(shift).ok()?)
        };
        let start_ms = start_ms().ok_or("an occurrence would be beyond all calendars")?;
        Ok(BookingEdit {
            start_ms: Some(start_ms),
            end_ms: Some(start_ms + member.interval().duration_ms() + growth_ms),
            ..edit.clone()
        })
    }
}
