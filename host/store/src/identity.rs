//! Numbers and keys by which rows are known.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

row_id!(
    /// One topic of one cluster.
    LogId
);
row_id!(
    /// A plugin, known by its name for ever.
    PluginId
);
row_id!(
    /// One loaded binary of a plugin.
    VersionId
);

row_id!(
    /// One load of a plugin: a binary and its settings.
    LoadId
);
row_id!(
    /// One trial of a candidate beside the active version.
    TrialId
);

impl PluginId {
    /// Stands for no plugin: the shared cursor of the head, and the `intake` lane.
    pub const NONE: Self = Self(0);
}

/// The identity of a notification: the event's time in milliseconds (48 bits), then a
/// hash of what makes it the same notification. Written as a UUID of version 8
/// (RFC 9562, section 5.8), so that it sorts by time and the database's index grows at
/// its end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NotificationId([u8; 16]);

impl NotificationId {
    /// Derives the id. `ordinal` counts the notifications of one decision that are
    /// equal in everything else.
    #[must_use]
    pub fn derive(
        event_time_ms: i64,
        event_id: &str,
        plugin: &str,
        recipient: &str,
        category: &str,
        collapse_key: Option<&str>,
        ordinal: u32,
    ) -> Self {
        let mut hash = Sha256::new();
        for part in [event_id, plugin, recipient, category] {
            // The length keeps ("ab", "c") and ("a", "bc") apart.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        match collapse_key {
            None => hash.update([0]),
            Some(key) => {
                hash.update([1]);
                hash.update(key);
            }
        }
        hash.update(ordinal.to_le_bytes());
        let digest = hash.finalize();
        let time = u64::try_from(event_time_ms).unwrap_or(0).min((1 << 48) - 1);
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&time.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&digest[..10]);
        Self(
            uuid::Builder::from_custom_bytes(bytes)
                .into_uuid()
                .into_bytes(),
        )
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NotificationId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::from_str(text).map(|id| Self(id.into_bytes()))
    }
}

impl Serialize for NotificationId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = Uuid::encode_buffer();
        serializer.serialize_str(
            Uuid::from_bytes(self.0)
                .hyphenated()
                .encode_lower(&mut buffer),
        )
    }
}

impl<'de> Deserialize<'de> for NotificationId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Uuid::deserialize(deserializer).map(|id| Self(id.into_bytes()))
    }
}

/// The key under which the decisions of an event are found: 16 bytes of the SHA-256 of
/// its id, so that a row's size does not depend on what producers call their events. Where
/// the id is a UUID of version 7 (RFC 9562, section 5.7), its time stands first, so that
/// events that are near in time are near in the table: keys all over it would make every
/// decision write a page of its own.
#[must_use]
pub fn event_key(event_id: &str) -> [u8; 16] {
    let digest = Sha256::digest(event_id);
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    if let Ok(id) = Uuid::try_parse(event_id)
        && id.get_version_num() == 7
    {
        key[..6].copy_from_slice(&id.as_bytes()[..6]);
    }
    key
}

/// An event key as 32 hexadecimal digits.
#[must_use]
pub fn event_key_hex(key: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(key))
}

/// Reads what [`event_key_hex`] wrote.
#[must_use]
pub fn event_key_from_hex(text: &str) -> Option<[u8; 16]> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
        .map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_same_decision_taken_again_is_the_same_notification() {
        let id = |key, ordinal| {
            NotificationId::derive(1_755_600_000_000, "e", "p", "user:u", "c", key, ordinal)
        };
        assert_eq!(id(Some("k"), 0), id(Some("k"), 0));
        assert_ne!(id(Some("k"), 0), id(Some("k"), 1));
        assert_ne!(id(Some(""), 0), id(None, 0));
    }

    #[test]
    fn ids_sort_by_time_and_read_back_from_text() {
        let earlier = NotificationId::derive(1_000, "b", "p", "r", "c", None, 0);
        let later = NotificationId::derive(2_000, "a", "p", "r", "c", None, 0);
        assert!(earlier < later);
        assert_eq!(later.to_string().parse::<NotificationId>().unwrap(), later);
    }

    #[test]
    fn keys_of_events_with_ids_of_time_stand_in_the_order_of_time_and_apart() {
        let keys = [
            "01890a5d-ac96-774b-bcce-b302099a8057",
            "01890a5d-ac97-774b-bcce-b302099a8057",
            "01890a5d-ac97-774b-bcce-b302099a8058",
        ]
        .map(event_key);
        assert_eq!(keys[0][..6], [0x01, 0x89, 0x0a, 0x5d, 0xac, 0x96]);
        assert!(keys[0] < keys[1]);
        assert_eq!(keys[1][..6], keys[2][..6]);
        assert_ne!(keys[1], keys[2]);
        // Another version, or no UUID at all: nothing but the hash.
        for id in ["01890a5d-ac96-474b-bcce-b302099a8057", "evt-1", ""] {
            assert_eq!(event_key(id)[..], Sha256::digest(id)[..16]);
        }
    }

    #[test]
    fn event_keys_read_back_from_their_digits_and_from_nothing_else() {
        let key = event_key("evt-1");
        assert_eq!(event_key_from_hex(&event_key_hex(key)), Some(key));
        assert_eq!(event_key_hex([0; 16]), "0".repeat(32));
        for text in [
            "",
            "12",
            "+0000000000000000000000000000000",
            &"g".repeat(32),
        ] {
            assert_eq!(event_key_from_hex(text), None, "{text}");
        }
    }
}
