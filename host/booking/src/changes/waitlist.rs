//! Entries of a waitlist: how they change, and what is told of it.

use carillon_events::Topic;
use serde::Serialize;

use crate::changes::freed::GivenUp;
use crate::error::WriteError;
use crate::events;
use crate::record::{BookingRecord, Resource};
use crate::status::Status;
use crate::telemetry::HoldEnded;
use crate::waitlist::{self, Entry, EntryStatus};
use crate::work::{Subject, Work};

/// `eventData` of `waitlist.*`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WaitlistData<'a> {
    id: &'a str,
    title: &'a str,
    priority: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<i64>,
    desired_start_time: String,
    desired_end_time: String,
    attendees_count: i64,
    resource_name: &'a str,
    /// What is held; not what was held once.
    #[serde(skip_serializing_if = "Option::is_none")]
    booking_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// What an event says beside the entry.
#[derive(Default)]
pub(super) struct Particulars<'a> {
    pub(super) position: Option<i64>,
    pub(super) hold_until_ms: Option<i64>,
    pub(super) reason: Option<&'a str>,
}

/// Which entry somebody means.
#[derive(Debug, Clone)]
pub(crate) struct EntryAccess {
    pub(crate) resource_id: String,
    pub(crate) entry_id: String,
}

impl Work<'_> {
    /// An entry that this caller may touch, unless it was removed.
    pub(super) async fn find_entry(
        &mut self,
        access: &EntryAccess,
    ) -> Result<Option<Entry>, WriteError> {
        let entry = waitlist::entry(&mut *self.connection, &access.entry_id).await?;
        Ok(entry.filter(|entry| {
            entry.resource_id == access.resource_id
                && entry.status != EntryStatus::Removed
                && self.by.may_act_for(&entry.user_id)
        }))
    }

    /// Writes where an entry stands now, and answers it as it is then.
    pub(super) async fn move_entry(
        &mut self,
        before: &Entry,
        status: EntryStatus,
        booking_id: Option<String>,
    ) -> Result<Entry, WriteError> {
        let entry = Entry {
            status,
            booking_id,
            version: before.version + 1,
            updated_ms: self.now_ms,
            ..before.clone()
        };
        sqlx::query(
            "UPDATE waitlist SET status = ?, booking_id = ?, version = ?, updated_ms = ? WHERE id = ?",
        )
        .bind(entry.status)
        .bind(&entry.booking_id)
        .bind(entry.version)
        .bind(entry.updated_ms)
        .bind(&entry.id)
        .execute(&mut *self.connection)
        .await?;
        Ok(entry)
    }

    /// Tells of a change of an entry that is written, and notes it.
    pub(super) async fn told_entry(
        &mut self,
        kind: &str,
        before: Option<&Entry>,
        entry: &Entry,
        resource: &Resource,
        particulars: Particulars<'_>,
    ) -> Result<(), WriteError> {
        self.note(kind, Subject::WaitlistEntry, &entry.id, before, Some(entry))
            .await?;
        let is_held = entry.status == EntryStatus::Promoted;
        let data = WaitlistData {
            id: &entry.id,
            title: &entry.title,
            priority: entry.priority,
            position: particulars.position,
            desired_start_time: events::local(resource, entry.start_ms),
            desired_end_time: events::local(resource, entry.end_ms),
            attendees_count: entry.attendees_count,
            resource_name: &resource.name,
            booking_id: entry.booking_id.as_deref().filter(|_| is_held),
            hold_until: particulars
                .hold_until_ms
                .map(|until_ms| events::local(resource, until_ms)),
            reason: particulars.reason,
        };
        let draft = events::draft(kind, self.now_ms, data)?
            .user(&*entry.user_id)
            .resource(&*entry.resource_id)
            .subject(&*entry.id);
        self.tell(Topic::WaitlistEvents, &entry.id, draft).await
    }

    /// Ends the waiting of an entry. What was held for it is given back, and whoever else waits for
    /// that time is asked.
    pub(super) async fn end_entry(
        &mut self,
        before: &Entry,
        ending: Ending,
        reason: Option<&str>,
    ) -> Result<(), WriteError> {
        let mut given_up = GivenUp::default();
        self.end_of_several(before, ending, reason, &mut given_up)
            .await?;
        self.freed(given_up).await
    }

    /// Ends the waiting of one entry where a change has others to write after it: what it gives up
    /// is collected, for the end.
    pub(super) async fn end_of_several(
        &mut self,
        before: &Entry,
        ending: Ending,
        reason: Option<&str>,
        given_up: &mut GivenUp,
    ) -> Result<(), WriteError> {
        let resource = self.resource_named(&before.resource_id).await?;
        if let (EntryStatus::Promoted, Some(booking_id)) = (before.status, &before.booking_id) {
            given_up.add(&self.give_back(booking_id, ending).await?);
        }
        let entry = self
            .move_entry(before, ending.of_entry(), before.booking_id.clone())
            .await?;
        let particulars = Particulars {
            reason,
            ..Particulars::default()
        };
        self.told_entry(ending.kind(), Some(before), &entry, &resource, particulars)
            .await
    }

    /// Ends a hold, and answers the booking as it was. Nobody was ever told that there is a booking,
    /// so nobody is told that it has gone.
    async fn give_back(
        &mut self,
        booking_id: &str,
        ending: Ending,
    ) -> Result<BookingRecord, WriteError> {
        let held = self.held_booking(booking_id).await?;
        let mut booking = BookingRecord {
            // Nothing was cancelled: it was never booked.
            status: Status::Expired,
            hold_until_ms: None,
            blocked_until_ms: None,
            ..held.clone()
        };
        booking.touched(&held, self.now_ms);
        self.rewrite(&booking).await?;
        let action = ending.of_hold();
        self.note(
            action,
            Subject::Booking,
            &booking.id,
            Some(&held),
            Some(&booking),
        )
        .await?;
        HoldEnded { how: action }.emit();
        Ok(held)
    }
}

/// How the waiting of an entry ends without a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its time is over.
    Expired,
    /// It was taken back.
    Removed,
}

impl Ending {
    fn kind(self) -> &'static str {
        match self {
            Self::Expired => "waitlist.expired",
            Self::Removed => "waitlist.removed",
        }
    }

    fn of_entry(self) -> EntryStatus {
        match self {
            Self::Expired => EntryStatus::Expired,
            Self::Removed => EntryStatus::Removed,
        }
    }

    /// What the audit record calls the end of a hold.
    fn of_hold(self) -> &'static str {
        match self {
            Self::Expired => "hold.expired",
            Self::Removed => "hold.returned",
        }
    }
}
