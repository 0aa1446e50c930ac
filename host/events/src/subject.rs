//! Where the identifier of the thing that changed stands in a record.

/// What an event is about, and with that where its `subject-id` is read.
///
/// The order is the same for every kind: `subjectId` of the envelope, which producers may always
/// write; then the envelope's own field for this subject; then a field of `eventData`. Only
/// [`Subject::User`] looks into `eventData` before `userId`, because `userId` may be the
/// administrator who changed somebody else's profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A booking: `bookingId`, else `eventData.id`.
    Booking,
    /// A booking that stands in conflict with others: `bookingId`, else `eventData.bookingId`.
    ConflictingBooking,
    /// A waitlist entry: `waitlistId`, else `eventData.id`.
    WaitlistEntry,
    /// A user: `eventData.id`, else `userId`.
    User,
    /// A resource: `resourceId`, else `eventData.id`.
    Resource,
    /// Anything else: `subjectId` or nothing.
    Other,
}

impl Subject {
    /// The subject of kinds that the catalogue does not list, by family.
    #[must_use]
    pub fn of_family(family: &str) -> Subject {
        match family {
            "booking" => Subject::Booking,
            "conflict" => Subject::ConflictingBooking,
            "waitlist" => Subject::WaitlistEntry,
            "user" => Subject::User,
            "resource" => Subject::Resource,
            _ => Subject::Other,
        }
    }

    /// The envelope field in which a producer writes the identifier.
    #[must_use]
    pub const fn written_as(self) -> &'static str {
        match self {
            Subject::Booking | Subject::ConflictingBooking => "bookingId",
            Subject::WaitlistEntry => "waitlistId",
            Subject::User | Subject::Resource | Subject::Other => "subjectId",
        }
    }

    /// Where a reader finds the identifier, in words, most telling place first. `subjectId` is
    /// not repeated here: it goes before everything.
    #[must_use]
    pub const fn read_from(self) -> &'static [&'static str] {
        match self {
            Subject::Booking => &["bookingId", "eventData.id"],
            Subject::ConflictingBooking => &["bookingId", "eventData.bookingId"],
            Subject::WaitlistEntry => &["waitlistId", "eventData.id"],
            Subject::User => &["eventData.id", "userId"],
            Subject::Resource => &["resourceId", "eventData.id"],
            Subject::Other => &[],
        }
    }
}
