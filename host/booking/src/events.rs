//! The events that the booking service tells, in the envelope of the seeds.

use carillon_events::{Draft, Kind};
use serde::Serialize;

use crate::error::WriteError;
use crate::record::{BookingRecord, HeldInterval, Resource};
use crate::rfc3339;
use crate::status::Status;

/// What `metadata.service` says.
const SERVICE: &str = "booking-service";

/// `eventData` of `booking.*`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BookingData<'a> {
    id: &'a str,
    title: &'a str,
    status: Status,
    #[serde(serialize_with = "rfc3339::serialize", rename = "startTime")]
    start_ms: i64,
    #[serde(serialize_with = "rfc3339::serialize", rename = "endTime")]
    end_ms: i64,
    attendees_count: i64,
}

/// A change of a booking.
pub(crate) fn of_booking(
    kind: &str,
    booking: &BookingRecord,
    correlation_id: &str,
) -> Result<Draft, WriteError> {
    let data = BookingData {
        id: &booking.id,
        title: &booking.title,
        status: booking.status,
        start_ms: booking.start_ms,
        end_ms: booking.end_ms,
        attendees_count: booking.attendees_count,
    };
    let draft = draft(kind, booking.updated_ms, data)?;
    Ok(draft
        .user(&*booking.user_id)
        .resource(&*booking.resource_id)
        .subject(&*booking.id)
        .correlation(correlation_id))
}

/// `eventData` of `conflict.detected`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConflictData<'a> {
    booking_id: &'a str,
    title: &'a str,
    conflicts_with: Vec<&'a str>,
    #[serde(serialize_with = "rfc3339::serialize", rename = "startTime")]
    start_ms: i64,
    #[serde(serialize_with = "rfc3339::serialize", rename = "endTime")]
    end_ms: i64,
    attendees_count: i64,
    held: Vec<&'a HeldInterval>,
}

/// A booking that was asked for and refused because its time is taken. The refused booking has the id
/// that it would have had; it was never made.
pub(crate) fn of_conflict(
    refused: &BookingRecord,
    held: &[(String, HeldInterval)],
    correlation_id: &str,
) -> Result<Draft, WriteError> {
    let data = ConflictData {
        booking_id: &refused.id,
        title: &refused.title,
        conflicts_with: held.iter().map(|(id, _)| id.as_str()).collect(),
        start_ms: refused.start_ms,
        end_ms: refused.end_ms,
        attendees_count: refused.attendees_count,
        held: held.iter().map(|(_, interval)| interval).collect(),
    };
    let draft = draft("conflict.detected", refused.created_ms, data)?;
    Ok(draft
        .user(&*refused.user_id)
        .resource(&*refused.resource_id)
        .subject(&*refused.id)
        .correlation(correlation_id))
}

/// A resource that was added.
pub(crate) fn of_new_resource(resource: &Resource, now_ms: i64) -> Result<Draft, WriteError> {
    let draft = draft("resource.created", now_ms, resource)?;
    Ok(draft.resource(&*resource.id).subject(&*resource.id))
}

/// A user who was registered.
pub(crate) fn of_new_user(
    user_id: &str,
    data: impl Serialize,
    now_ms: i64,
) -> Result<Draft, WriteError> {
    let draft = draft("user.created", now_ms, data)?;
    Ok(draft.user(user_id).subject(user_id))
}

fn draft(kind: &str, time_ms: i64, data: impl Serialize) -> Result<Draft, WriteError> {
    let kind = Kind::parse(kind).map_err(|error| WriteError::Event(error.to_string()))?;
    let draft = Draft::new(kind, time_ms)
        .data(data)
        .map_err(|error| WriteError::Event(error.to_string()))?;
    Ok(draft.service(SERVICE, env!("CARGO_PKG_VERSION")))
}
