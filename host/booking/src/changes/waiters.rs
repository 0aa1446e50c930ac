//! Taking away those who wait for a resource, or everything that a user waits for, with its end.

use carillon_events::Topic;
use serde::Serialize;

use crate::error::WriteError;
use crate::events;
use crate::place::{self, Placed};
use crate::queries::{self, Owner};
use crate::rfc3339;
use crate::status::Status;
use crate::work::{Subject, Work};

/// An entry of a waitlist that is open.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Waiter {
    id: String,
    resource_id: String,
    user_id: String,
    title: String,
    attendees_count: i64,
    #[serde(rename = "startTime", with = "rfc3339")]
    start_ms: i64,
    #[serde(rename = "endTime", with = "rfc3339")]
    end_ms: i64,
    priority: i64,
    status: String,
    /// What is held for it.
    booking_id: Option<String>,
    version: i64,
}

/// `eventData` of `waitlist.removed`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RemovedData<'a> {
    id: &'a str,
    title: &'a str,
    priority: i64,
    #[serde(with = "rfc3339", rename = "desiredStartTime")]
    start_ms: i64,
    #[serde(with = "rfc3339", rename = "desiredEndTime")]
    end_ms: i64,
    attendees_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    booking_id: Option<&'a str>,
    resource_name: &'a str,
    reason: &'a str,
}

impl Work<'_> {
    /// The open entries; those for whom nothing is held yet come first, so that what the others
    /// give up is not offered to them.
    pub(super) async fn waiters_of(
        &mut self,
        owner: Owner<'_>,
        limit: i64,
    ) -> Result<Vec<Waiter>, WriteError> {
        let (column, id) = owner.column();
        let mut query = sqlx::QueryBuilder::new("SELECT * FROM waitlist WHERE ");
        query.push(column).push(" = ").push_bind(id);
        query.push(" AND status IN ('waiting', 'promoted')");
        query.push(" ORDER BY status DESC, joined_ms, id LIMIT ");
        query.push_bind(limit);
        Ok(query
            .build_query_as()
            .fetch_all(&mut *self.connection)
            .await?)
    }

    /// Removes an entry, and gives up what is held for it.
    pub(super) async fn remove_waiter(
        &mut self,
        before: &Waiter,
        reason: &str,
    ) -> Result<(), WriteError> {
        let mut after = before.clone();
        after.status = "removed".to_owned();
        after.version += 1;
        sqlx::query("UPDATE waitlist SET status = ?, version = ?, updated_ms = ? WHERE id = ?")
            .bind(&after.status)
            .bind(after.version)
            .bind(self.now_ms)
            .bind(&after.id)
            .execute(&mut *self.connection)
            .await?;
        let kind = "waitlist.removed";
        self.note(
            kind,
            Subject::WaitlistEntry,
            &after.id,
            Some(before),
            Some(&after),
        )
        .await?;
        let resource_name: String = sqlx::query_scalar("SELECT name FROM resources WHERE id = ?")
            .bind(&after.resource_id)
            .fetch_one(&mut *self.connection)
            .await?;
        let data = RemovedData {
            id: &after.id,
            title: &after.title,
            priority: after.priority,
            start_ms: after.start_ms,
            end_ms: after.end_ms,
            attendees_count: after.attendees_count,
            booking_id: after.booking_id.as_deref(),
            resource_name: &resource_name,
            reason,
        };
        let draft = events::draft(kind, self.now_ms, data)?
            .user(&*after.user_id)
            .resource(&*after.resource_id)
            .subject(&*after.id);
        self.tell(Topic::WaitlistEvents, &after.id, draft).await?;
        match &after.booking_id {
            Some(booking_id) => self.give_up_hold(booking_id).await,
            None => Ok(()),
        }
    }

    /// What was held was never told as a booking, so its end is told as its entry's.
    async fn give_up_hold(&mut self, booking_id: &str) -> Result<(), WriteError> {
        let held = queries::booking(&mut *self.connection, booking_id).await?;
        let Some(before) = held.filter(|booking| booking.status == Status::Held) else {
            return Ok(());
        };
        let mut booking = before.clone();
        booking.status = Status::Cancelled;
        booking.hold_until_ms = None;
        booking.version += 1;
        booking.updated_ms = self.now_ms;
        if place::update(self.connection, &booking).await? != Placed::Stands {
            return Err(WriteError::Database(format!(
                "what was held as {booking_id} could not be given up"
            )));
        }
        self.note(
            "booking.cancelled",
            Subject::Booking,
            booking_id,
            Some(&before),
            Some(&booking),
        )
        .await?;
        self.resolve_conflicts_of(&booking).await?;
        self.freed(&before).await
    }
}
