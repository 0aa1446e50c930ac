//! Every kind of event that Carillon knows, as data.
//!
//! A kind is here because one of the two seed documents or the sample events name it; only
//! `user.deleted` is Carillon's own, since whoever keeps profiles has to hear of their end. Where the
//! documents spell a kind differently, the longer spelling of the second is canonical (except
//! `waitlist.joined`, which says who did it) and the other is an alias.

mod fields;

use std::sync::LazyLock;

use crate::{Subject, Topic};
use fields::{
    ANALYTICS_DATA, BOOKING_DATA, CONFLICT_DATA, NOTIFICATION_DATA, RESOURCE_DATA, USER_DATA,
    WAITLIST_DATA,
};

/// A kind of event.
#[derive(Debug)]
pub struct KindEntry {
    /// The canonical name, `booking.checked_in`.
    pub name: &'static str,
    /// The topic that carries it.
    pub topic: Topic,
    /// Other spellings that mean the same.
    pub aliases: &'static [&'static str],
    /// What it is about, and where that one's identifier stands.
    pub subject: Subject,
    /// The service that produces it.
    pub owner: &'static str,
    /// When it is produced, in one sentence.
    pub summary: &'static str,
    /// The main fields of `eventData`. All of them are optional to Carillon, which hands
    /// `eventData` to plugins unread.
    pub data: &'static [DataField],
}

/// A field of `eventData`.
#[derive(Debug)]
pub struct DataField {
    /// Its name.
    pub name: &'static str,
    /// Its JSON type, in words.
    pub json_type: &'static str,
    /// What it holds.
    pub summary: &'static str,
}

/// Every kind, ordered by topic and then by the course of events.
#[must_use]
pub fn kinds() -> &'static [KindEntry] {
    KINDS
}

/// The entry of a kind by its canonical name or one of its aliases.
#[must_use]
pub fn find(name: &str) -> Option<&'static KindEntry> {
    let index = BY_NAME
        .binary_search_by(|(known, _)| (*known).cmp(name))
        .ok()?;
    Some(BY_NAME[index].1)
}

/// Every spelling, sorted.
static BY_NAME: LazyLock<Vec<(&'static str, &'static KindEntry)>> = LazyLock::new(|| {
    let mut names: Vec<_> = KINDS
        .iter()
        .flat_map(|entry| {
            std::iter::once(entry.name)
                .chain(entry.aliases.iter().copied())
                .map(move |name| (name, entry))
        })
        .collect();
    names.sort_unstable_by_key(|(name, _)| *name);
    names
});

const BOOKING_SERVICE: &str = "booking service";

const fn booking(
    name: &'static str,
    aliases: &'static [&'static str],
    summary: &'static str,
) -> KindEntry {
    KindEntry {
        name,
        topic: Topic::BookingEvents,
        aliases,
        subject: Subject::Booking,
        owner: BOOKING_SERVICE,
        summary,
        data: BOOKING_DATA,
    }
}

const fn waitlist(
    name: &'static str,
    aliases: &'static [&'static str],
    summary: &'static str,
) -> KindEntry {
    KindEntry {
        name,
        topic: Topic::WaitlistEvents,
        aliases,
        subject: Subject::WaitlistEntry,
        owner: BOOKING_SERVICE,
        summary,
        data: WAITLIST_DATA,
    }
}

const fn conflict(name: &'static str, summary: &'static str) -> KindEntry {
    KindEntry {
        name,
        topic: Topic::ConflictEvents,
        aliases: &[],
        subject: Subject::ConflictingBooking,
        owner: BOOKING_SERVICE,
        summary,
        data: CONFLICT_DATA,
    }
}

const fn user(name: &'static str, summary: &'static str) -> KindEntry {
    KindEntry {
        name,
        topic: Topic::UserEvents,
        aliases: &[],
        subject: Subject::User,
        owner: BOOKING_SERVICE,
        summary,
        data: USER_DATA,
    }
}

const fn resource(name: &'static str, summary: &'static str) -> KindEntry {
    KindEntry {
        name,
        topic: Topic::ResourceEvents,
        aliases: &[],
        subject: Subject::Resource,
        owner: BOOKING_SERVICE,
        summary,
        data: RESOURCE_DATA,
    }
}

static KINDS: &[KindEntry] = &[
    booking("booking.created", &[], "A booking was made."),
    booking("booking.updated", &[], "A booking's details were changed."),
    booking("booking.confirmed", &[], "A booking was approved."),
    booking("booking.cancelled", &[], "A booking was cancelled."),
    booking(
        "booking.checked_in",
        &["booking.checkedin"],
        "The user arrived and checked in.",
    ),
    booking(
        "booking.checked_out",
        &["booking.checkedout"],
        "The user checked out and left.",
    ),
    booking(
        "booking.no_show",
        &["booking.noshow"],
        "The booking began and nobody checked in.",
    ),
    waitlist(
        "waitlist.joined",
        &["waitlist.added"],
        "A user joined the waitlist of a resource.",
    ),
    waitlist(
        "waitlist.promoted",
        &[],
        "The wanted time became free and is held or booked for the entry.",
    ),
    waitlist("waitlist.removed", &[], "A waitlist entry was taken back."),
    waitlist(
        "waitlist.expired",
        &[],
        "The wanted time came before it was free, or a promotion was not accepted in time.",
    ),
    conflict(
        "conflict.detected",
        "A booking was asked for at a time that is taken, or one that stands lost its time because the resource was closed.",
    ),
    conflict("conflict.resolved", "A conflict exists no more."),
    KindEntry {
        name: "analytics.recorded",
        topic: Topic::AnalyticsEvents,
        aliases: &[],
        subject: Subject::Other,
        owner: BOOKING_SERVICE,
        summary: "A figure about use of the service was recorded.",
        data: ANALYTICS_DATA,
    },
    KindEntry {
        name: "notification.requested",
        topic: Topic::NotificationEvents,
        aliases: &[],
        subject: Subject::Other,
        owner: "any service",
        summary: "A service asks to notify the user of `userId` without a plugin of its own.",
        data: NOTIFICATION_DATA,
    },
    user("user.created", "A user was registered."),
    user("user.updated", "A user's profile was changed."),
    user(
        "user.deleted",
        "A user was removed; of them only `id` and `version` are left.",
    ),
    resource("resource.created", "A resource was added."),
    resource("resource.updated", "A resource was changed."),
    resource(
        "resource.unavailable",
        "A resource cannot be used for a while.",
    ),
    resource("resource.deleted", "A resource was removed."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn every_spelling_is_well_formed_and_belongs_to_one_entry_only() {
        for pair in BY_NAME.windows(2) {
            assert_ne!(pair[0].0, pair[1].0);
        }
        for (name, entry) in BY_NAME.iter() {
            let parts: Vec<_> = name.split('.').collect();
            assert!(
                parts.len() == 2 && parts.iter().all(|part| crate::kind::is_part(part)),
                "{name}"
            );
            assert!(
                std::ptr::eq(find(name).unwrap_or(&KINDS[0]), *entry),
                "{name}"
            );
        }
    }

    #[test]
    fn the_topic_and_the_subject_of_an_entry_are_those_of_its_family() {
        for entry in kinds() {
            let kind = Kind::from(entry);
            assert_eq!(Topic::of_family(kind.family()), Some(entry.topic), "{kind}");
            assert_eq!(Subject::of_family(kind.family()), entry.subject, "{kind}");
        }
    }

    #[test]
    fn a_name_that_is_not_listed_is_not_found() {
        for name in [
            "",
            "booking",
            "booking.",
            "booking.create",
            "booking.createdx",
            "BOOKING.CREATED",
        ] {
            assert!(find(name).is_none(), "{name}");
        }
    }
}
