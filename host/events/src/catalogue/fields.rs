//! What `eventData` holds, by family of kinds. The booking service tells nothing that is not listed here:
//! its tests look each event up.

use super::DataField;

const fn field(name: &'static str, json_type: &'static str, summary: &'static str) -> DataField {
    DataField {
        name,
        json_type,
        summary,
    }
}

pub(super) const BOOKING_DATA: &[DataField] = &[
    field("id", "string", "The booking."),
    field("title", "string", "What the booking is for."),
    field(
        "status",
        "string",
        "The booking's state after the event, such as `confirmed`.",
    ),
    field(
        "startTime",
        "RFC 3339 string",
        "When it begins, with the offset of the resource's time zone.",
    ),
    field("endTime", "RFC 3339 string", "When it ends."),
    field("attendeesCount", "integer", "How many people are expected."),
    field(
        "seriesId",
        "string",
        "The series that it is an occurrence of; absent where there is none.",
    ),
    field(
        "invitation",
        "object",
        "What an invitation by mail needs, in the shape of iTIP (RFC 5546): `method` (`REQUEST` or `CANCEL`), `uid` and `sequence` (those of the calendar feeds), `summary`, `location`, `startTime`, `endTime`, `organizer` (`name`, and `email` where `calendar_organizer` is set), `attendee` (`id`, `name`, `email`); absent where nothing changes in a calendar, as at check-in, and where the user was deleted.",
    ),
    field("resourceName", "string", "The name of the resource."),
    field(
        "reason",
        "string",
        "Why it happened, in words; absent where the kind says it all.",
    ),
];

pub(super) const WAITLIST_DATA: &[DataField] = &[
    field(
        "priority",
        "integer",
        "The higher, the sooner it is promoted.",
    ),
    field("position", "integer", "The place in the queue, from 1."),
    field(
        "desiredStartTime",
        "RFC 3339 string",
        "When the wanted booking would begin.",
    ),
    field(
        "desiredEndTime",
        "RFC 3339 string",
        "When the wanted booking would end.",
    ),
    field(
        "bookingId",
        "string",
        "The booking that a promotion led to, or that is held.",
    ),
    field(
        "holdUntil",
        "RFC 3339 string",
        "Until when a promotion has to be accepted.",
    ),
    field("reason", "string", "Why the waiting has ended, in words."),
    field("id", "string", "The entry of the waitlist."),
    field("title", "string", "What the booking would be for."),
    field("attendeesCount", "integer", "How many people would come."),
    field("resourceName", "string", "The name of the resource."),
];

pub(super) const CONFLICT_DATA: &[DataField] = &[
    field(
        "bookingId",
        "string",
        "The booking that could not stand beside the others.",
    ),
    field(
        "conflictsWith",
        "array of strings",
        "The bookings that were there before.",
    ),
    field(
        "startTime",
        "RFC 3339 string",
        "When the contested time begins.",
    ),
    field(
        "endTime",
        "RFC 3339 string",
        "When the contested time ends.",
    ),
    field(
        "conflictId",
        "string",
        "The conflict: who sends it along with another booking resolves it.",
    ),
    field("title", "string", "What the booking is for."),
    field("attendeesCount", "integer", "How many people are expected."),
    field("resourceName", "string", "The name of the resource."),
    field("reason", "string", "Why there is no place, in words."),
    field(
        "held",
        "array of objects",
        "The times that are taken, each with `startTime` and `endTime`.",
    ),
    field(
        "alternatives",
        "array of strings",
        "The names of other resources that are free at that time.",
    ),
    field(
        "suggestions",
        "array of objects",
        "Those and other times, best first: `resourceId`, `resourceName`, `startTime`, `endTime`, `score` from 0 to 100, `reason`.",
    ),
    field(
        "resolvedBy",
        "string",
        "Of `conflict.resolved`: the booking that resolves it, another one or the same after a change.",
    ),
    field("resolvedOn", "string", "The resource of that booking."),
    field("resolvedResourceName", "string", "Its name."),
    field(
        "resolvedStatus",
        "string",
        "The state of that booking: a cancelled one resolves a conflict, too.",
    ),
    field(
        "resolvedStartTime",
        "RFC 3339 string",
        "When that booking begins.",
    ),
    field("resolvedEndTime", "RFC 3339 string", "When it ends."),
];

pub(super) const ANALYTICS_DATA: &[DataField] = &[
    field(
        "name",
        "string",
        "What was measured, such as `availability.searched`.",
    ),
    field(
        "durationMs",
        "integer",
        "How long it took, in milliseconds.",
    ),
    field("outcome", "string", "How it ended, such as `ok`."),
    field("status", "integer", "The HTTP status of the answer."),
];

pub(super) const NOTIFICATION_DATA: &[DataField] = &[
    field("title", "string", "The headline, one line."),
    field("body", "string", "The text, plain."),
    field(
        "category",
        "string",
        "What it is about, in the recipient's preferences.",
    ),
    field(
        "channels",
        "array of strings",
        "The channels to use; empty or absent is the recipient's own choice.",
    ),
];

pub(super) const USER_DATA: &[DataField] = &[
    field("id", "string", "The user."),
    field("email", "string", "The address for e-mail."),
    field("displayName", "string", "The name that others see."),
    field(
        "timeZone",
        "string",
        "An IANA time zone, such as `Europe/Berlin`.",
    ),
    field("locale", "string", "A BCP 47 language tag, such as `de`."),
    field("version", "integer", "Counts the changes, from 1."),
];

pub(super) const RESOURCE_DATA: &[DataField] = &[
    field("id", "string", "The resource."),
    field("name", "string", "The name that people know it by."),
    field("capacity", "integer", "How many people fit."),
    field("kind", "string", "What it is, such as `room`."),
    field("place", "string", "Where it is."),
    field(
        "timeZone",
        "string",
        "The IANA time zone of its opening hours.",
    ),
    field(
        "requiresApproval",
        "boolean",
        "Whether bookings wait for approval.",
    ),
    field(
        "rules",
        "object",
        "When it may be booked, and for how long.",
    ),
    field("version", "integer", "Counts the changes, from 1."),
    field(
        "startTime",
        "RFC 3339 string",
        "Of `resource.unavailable`: from when it cannot be used.",
    ),
    field("endTime", "RFC 3339 string", "Until when."),
    field("reason", "string", "Why, in words."),
    field("unavailabilityId", "string", "That stretch of time."),
    field(
        "availableAgain",
        "object",
        "Of `resource.updated` that opens it again: `startTime` and `endTime` of the stretch.",
    ),
];
