//! The event topics of the two seed documents.

use std::fmt;

/// An event topic, by its role. The name that a cluster gives it is configurable;
/// [`Topic::name`] is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// The life of bookings.
    BookingEvents,
    /// Waitlist entries.
    WaitlistEvents,
    /// Conflicts between bookings.
    ConflictEvents,
    /// Usage figures.
    AnalyticsEvents,
    /// Requests to notify somebody, from any service.
    NotificationEvents,
    /// The directory of users.
    UserEvents,
    /// The directory of resources.
    ResourceEvents,
}

impl Topic {
    /// Every topic, in the order of the documentation.
    pub const ALL: [Topic; 7] = [
        Topic::BookingEvents,
        Topic::WaitlistEvents,
        Topic::ConflictEvents,
        Topic::AnalyticsEvents,
        Topic::NotificationEvents,
        Topic::UserEvents,
        Topic::ResourceEvents,
    ];

    /// The topic's name in Kafka unless configuration says otherwise: `booking-events`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Topic::BookingEvents => "booking-events",
            Topic::WaitlistEvents => "waitlist-events",
            Topic::ConflictEvents => "conflict-events",
            Topic::AnalyticsEvents => "analytics-events",
            Topic::NotificationEvents => "notification-events",
            Topic::UserEvents => "user-events",
            Topic::ResourceEvents => "resource-events",
        }
    }

    /// The key in the seeds' `[booking_service.kafka.topics]`: `booking_events`.
    #[must_use]
    pub const fn config_key(self) -> &'static str {
        match self {
            Topic::BookingEvents => "booking_events",
            Topic::WaitlistEvents => "waitlist_events",
            Topic::ConflictEvents => "conflict_events",
            Topic::AnalyticsEvents => "analytics_events",
            Topic::NotificationEvents => "notification_events",
            Topic::UserEvents => "user_events",
            Topic::ResourceEvents => "resource_events",
        }
    }

    /// The topic that carries a family of kinds (`booking` → `booking-events`), also for
    /// kinds that the catalogue does not list.
    #[must_use]
    pub fn of_family(family: &str) -> Option<Topic> {
        Self::ALL.into_iter().find(|topic| {
            topic
                .name()
                .strip_suffix("-events")
                .is_some_and(|prefix| prefix == family)
        })
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
