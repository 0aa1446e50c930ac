//! The events that the booking service tells, in the envelope of the seeds.

use carillon_events::{Draft, Kind};
use serde::Serialize;

use crate::alternatives::Alternative;
use crate::changes::{NewConflict, OpenConflict};
use crate::error::WriteError;
use crate::interval::Interval;
use crate::invitation::Invitation;
use crate::record::{BookingRecord, Resource, User};
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
    start_time: String,
    end_time: String,
    attendees_count: i64,
    resource_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    series_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation: Option<Invitation<'a>>,
}

/// A change of a booking. `reason` says why, where that is not plain from the kind.
pub(crate) fn of_booking(
    kind: &str,
    booking: &BookingRecord,
    resource: &Resource,
    user: &User,
    reason: Option<&str>,
    organizer: Option<&str>,
) -> Result<Draft, WriteError> {
    let data = BookingData {
        id: &booking.id,
        title: &booking.title,
        status: booking.status,
        start_time: local(resource, booking.start_ms),
        end_time: local(resource, booking.end_ms),
        attendees_count: booking.attendees_count,
        resource_name: &resource.name,
        series_id: booking.series_id.as_deref(),
        reason,
        invitation: Invitation::of(kind, booking, resource, user, organizer),
    };
    let draft = draft(kind, booking.updated_ms, data)?;
    Ok(draft
        .user(&*booking.user_id)
        .resource(&*booking.resource_id)
        .subject(&*booking.id))
}

/// `eventData` of `conflict.detected`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConflictData<'a> {
    conflict_id: &'a str,
    booking_id: &'a str,
    title: &'a str,
    conflicts_with: &'a [String],
    start_time: String,
    end_time: String,
    attendees_count: i64,
    resource_name: &'a str,
    reason: &'a str,
    held: &'a [Interval],
    /// Other resources that are free at that time.
    alternatives: Vec<&'a str>,
    /// Those, and other times, best first.
    suggestions: &'a [Alternative],
}

/// A booking that has no place. One that was asked for and refused has the id that it would have had.
pub(crate) fn of_conflict(new: &NewConflict<'_>, now_ms: i64) -> Result<Draft, WriteError> {
    let booking = new.booking;
    let others = new
        .alternatives
        .iter()
        .filter(|other| other.resource_id != booking.resource_id);
    let data = ConflictData {
        conflict_id: new.id,
        booking_id: &booking.id,
        title: &booking.title,
        conflicts_with: new.conflicts_with,
        start_time: local(new.resource, booking.start_ms),
        end_time: local(new.resource, booking.end_ms),
        attendees_count: booking.attendees_count,
        resource_name: &new.resource.name,
        reason: new.reason,
        held: new.taken,
        alternatives: others.map(|other| other.resource_name.as_str()).collect(),
        suggestions: new.alternatives,
    };
    let draft = draft("conflict.detected", now_ms, data)?;
    Ok(draft
        .user(&*booking.user_id)
        .resource(&*booking.resource_id)
        .subject(&*booking.id))
}

/// `eventData` of `conflict.resolved`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResolvedData<'a> {
    conflict_id: &'a str,
    booking_id: &'a str,
    title: &'a str,
    start_time: String,
    end_time: String,
    attendees_count: i64,
    resource_name: &'a str,
    resolved_by: &'a str,
    resolved_on: &'a str,
    resolved_resource_name: &'a str,
    resolved_status: Status,
    resolved_start_time: String,
    resolved_end_time: String,
}

/// A conflict that is over: another booking was made, or the one that was in conflict has gone. Each
/// with its resource.
pub(crate) fn of_resolved_conflict(
    (conflict, wanted): (&OpenConflict, &Resource),
    (instead, has): (&BookingRecord, &Resource),
    now_ms: i64,
) -> Result<Draft, WriteError> {
    let data = ResolvedData {
        conflict_id: &conflict.id,
        booking_id: &conflict.booking_id,
        title: &conflict.title,
        start_time: local(wanted, conflict.start_ms),
        end_time: local(wanted, conflict.end_ms),
        attendees_count: conflict.attendees_count,
        resource_name: &wanted.name,
        resolved_by: &instead.id,
        resolved_on: &instead.resource_id,
        resolved_resource_name: &has.name,
        resolved_status: instead.status,
        resolved_start_time: local(has, instead.start_ms),
        resolved_end_time: local(has, instead.end_ms),
    };
    let draft = draft("conflict.resolved", now_ms, data)?;
    Ok(draft
        .user(&*conflict.user_id)
        .resource(&*conflict.resource_id)
        .subject(&*conflict.booking_id))
}

/// A change of a resource: `resource.created`, `resource.updated`, `resource.deleted`.
pub(crate) fn of_resource(
    kind: &str,
    resource: &Resource,
    now_ms: i64,
) -> Result<Draft, WriteError> {
    let draft = draft(kind, now_ms, resource)?;
    Ok(draft.resource(&*resource.id).subject(&*resource.id))
}

/// A change of a user who is there: `user.created`, `user.updated`.
pub(crate) fn of_user(kind: &str, user: &User, now_ms: i64) -> Result<Draft, WriteError> {
    let draft = draft(kind, now_ms, user)?;
    Ok(draft.user(&*user.id).subject(&*user.id))
}

/// A time as the clocks at the resource show it: it is for people who go there.
pub(crate) fn local(resource: &Resource, time_ms: i64) -> String {
    rfc3339::print_in(&resource.zone(), time_ms)
}

/// An event without anybody in it yet.
pub(crate) fn draft(kind: &str, time_ms: i64, data: impl Serialize) -> Result<Draft, WriteError> {
    let kind = Kind::parse(kind).map_err(|error| WriteError::Event(error.to_string()))?;
    let draft = Draft::new(kind, time_ms)
        .data(data)
        .map_err(|error| WriteError::Event(error.to_string()))?;
    Ok(draft.service(SERVICE, env!("CARGO_PKG_VERSION")))
}
