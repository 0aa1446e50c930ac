//! Kinds of event, by canonical name.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::catalogue::{self, KindEntry};
use crate::{Subject, Topic};

/// The longest name of a kind, in bytes: four times the longest in the catalogue, so that names
/// stay usable as metric labels and in lists.
pub const MAX_KIND_BYTES: usize = 100;

/// A kind of event by its canonical name, such as `booking.checked_in`.
///
/// A kind of the catalogue is a reference to its entry and costs no allocation; a kind that is
/// well formed but unknown keeps its own name, so that plugins can handle events that were
/// invented after this host was built.
#[derive(Clone)]
pub struct Kind(Name);

#[derive(Clone)]
enum Name {
    Listed(&'static KindEntry),
    Unlisted(Arc<str>),
}

/// Why a text is not the name of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// Longer than [`MAX_KIND_BYTES`].
    #[error("it is longer than {MAX_KIND_BYTES} bytes")]
    TooLong,
    /// There is no dot between a family and a name.
    #[error("it has no family: it must look like `booking.created`")]
    NoFamily,
    /// A part is empty, does not begin with a letter, or holds something else than lower-case
    /// ASCII letters, digits, `_` and `-`.
    #[error(
        "each part between dots must begin with a lower-case letter and hold only lower-case letters, digits, `_` and `-`, as in `booking.checked_in`"
    )]
    Malformed,
}

impl Kind {
    /// Reads the name of a kind; an alias becomes its canonical name.
    ///
    /// # Errors
    /// [`KindError`] when the text is not `family.name` in lower case or is too long.
    pub fn parse(name: &str) -> Result<Kind, KindError> {
        if let Some(entry) = catalogue::find(name) {
            return Ok(Kind(Name::Listed(entry)));
        }
        check(name)?;
        Ok(Kind(Name::Unlisted(name.into())))
    }

    /// The canonical name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Listed(entry) => entry.name,
            Name::Unlisted(name) => name,
        }
    }

    /// The part before the first dot: `booking`.
    #[must_use]
    pub fn family(&self) -> &str {
        let name = self.as_str();
        name.split_once('.').map_or(name, |(family, _)| family)
    }

    /// The catalogue's entry, unless the kind is unknown.
    #[must_use]
    pub fn entry(&self) -> Option<&'static KindEntry> {
        match &self.0 {
            Name::Listed(entry) => Some(entry),
            Name::Unlisted(_) => None,
        }
    }

    /// The topic that events of this kind belong to: the catalogue's, else that of the family.
    #[must_use]
    pub fn topic(&self) -> Option<Topic> {
        match &self.0 {
            Name::Listed(entry) => Some(entry.topic),
            Name::Unlisted(_) => Topic::of_family(self.family()),
        }
    }

    /// What events of this kind are about: the catalogue's answer, else that of the family.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match &self.0 {
            Name::Listed(entry) => entry.subject,
            Name::Unlisted(_) => Subject::of_family(self.family()),
        }
    }
}

impl From<&'static KindEntry> for Kind {
    fn from(entry: &'static KindEntry) -> Kind {
        Kind(Name::Listed(entry))
    }
}

/// Tells whether a text has the form of a kind.
fn check(name: &str) -> Result<(), KindError> {
    if name.is_empty() {
        return Err(KindError::Empty);
    }
    if name.len() > MAX_KIND_BYTES {
        return Err(KindError::TooLong);
    }
    if !name.split('.').all(is_part) {
        return Err(KindError::Malformed);
    }
    if !name.contains('.') {
        return Err(KindError::NoFamily);
    }
    Ok(())
}

/// One part of a name between dots: `[a-z][a-z0-9_-]*`.
pub(crate) fn is_part(part: &str) -> bool {
    let mut bytes = part.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

impl PartialEq for Kind {
    fn eq(&self, other: &Kind) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Kind {}

impl PartialEq<str> for Kind {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Kind {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Kind) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Kind) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl AsRef<str> for Kind {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({})", self.as_str())
    }
}

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(name: &str) -> Result<Kind, KindError> {
        Kind::parse(name)
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_becomes_the_canonical_kind() {
        for (alias, canonical) in [
            ("booking.checkedin", "booking.checked_in"),
            ("booking.checkedout", "booking.checked_out"),
            ("booking.noshow", "booking.no_show"),
            ("waitlist.added", "waitlist.joined"),
        ] {
            assert_eq!(Kind::parse(alias).unwrap(), canonical);
        }
    }

    #[test]
    fn an_unknown_kind_of_a_known_family_has_its_topic_and_subject() {
        let kind = Kind::parse("booking.teleported").unwrap();
        assert_eq!(kind.family(), "booking");
        assert_eq!(kind.topic(), Some(Topic::BookingEvents));
        assert_eq!(kind.subject(), Subject::Booking);
        assert!(kind.entry().is_none());
        assert_eq!(Kind::parse("garden.watered").unwrap().topic(), None);
    }

    #[test]
    fn what_is_not_family_dot_name_is_refused_with_the_reason() {
        for (name, error) in [
            ("", KindError::Empty),
            ("booking", KindError::NoFamily),
            ("booking.", KindError::Malformed),
            (".created", KindError::Malformed),
            ("booking..created", KindError::Malformed),
            ("Booking.created", KindError::Malformed),
            ("booking.CREATED", KindError::Malformed),
            ("booking created", KindError::Malformed),
            ("booking.*", KindError::Malformed),
            ("booking.größe", KindError::Malformed),
            ("booking.9am", KindError::Malformed),
            ("booking.\u{0}", KindError::Malformed),
        ] {
            assert_eq!(Kind::parse(name).unwrap_err(), error, "{name:?}");
        }
        let longest = format!("a.{}", "b".repeat(MAX_KIND_BYTES - 2));
        assert!(Kind::parse(&longest).is_ok());
        assert_eq!(Kind::parse(&format!("{longest}b")), Err(KindError::TooLong));
    }
}
