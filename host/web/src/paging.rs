//! Lists in pages: `{"items": […], "next": cursor or null}`.
//!
//! A cursor is what the last item of a page is ordered by, so that a page begins where the one before
//! it ended even if rows came or went in between. It is opaque to clients. It carries a checksum, not a
//! signature: it grants nothing that the query without it would not, so a cursor that was changed is a
//! mistake to be pointed out, not an attack to be held off.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

/// Bytes of SHA-256 in front of a cursor's value.
const CHECKSUM_BYTES: usize = 8;

/// The fewest and the most characters of a cursor: one that holds a single digit, and the longest that is
/// looked at.
pub const CURSOR_CHARS: (usize, usize) = (12, 1024);

/// What the text of a cursor looks like, as JSON Schema has it: base64url without padding (RFC 4648,
/// section 5).
pub const CURSOR_PATTERN: &str = "^[A-Za-z0-9_-]+$";

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// What is on this page, in the list's order.
    pub items: Vec<T>,
    /// The cursor that asks for what comes after it, or null at the end of the list.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page from a query that was asked for ONE row more than `limit`: the row too many says
    /// that there is a next page and is dropped. `position` is what the list is ordered by.
    pub fn from_rows<C: Serialize>(
        mut rows: Vec<T>,
        limit: usize,
        position: impl FnOnce(&T) -> C,
    ) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = match rows.last() {
            Some(last) if more => Some(Cursor(position(last)).to_string()),
            _ => None,
        };
        Self { items: rows, next }
    }

    /// The same page with every item changed.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            next: self.next,
        }
    }
}

/// A position in a list, as base64url text. Reads and writes itself as a string, so it can stand in a
/// query struct: `cursor: Option<Cursor<(i64, String)>>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor<C>(pub C);

/// A text that is no position of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// It does not look like a cursor at all.
    #[error(
        "a cursor has {} to {} letters, digits, hyphens and underscores; start again without `cursor`, or send `next` of the page before unchanged",
        CURSOR_CHARS.0,
        CURSOR_CHARS.1
    )]
    Malformed,
    /// This service did not make it, or not for this list.
    #[error(
        "the cursor is not one that this list gave out; start again without `cursor`, or send `next` of the page before unchanged"
    )]
    Unknown,
}

impl<C: Serialize> fmt::Display for Cursor<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = serde_json::to_vec(&self.0).map_err(|_| fmt::Error)?;
        let mut bytes = checksum(&value).to_vec();
        bytes.extend_from_slice(&value);
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl<C: DeserializeOwned> FromStr for Cursor<C> {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let is_long_enough = (CURSOR_CHARS.0..=CURSOR_CHARS.1).contains(&text.len());
        if !is_long_enough || !text.bytes().all(is_base64) {
            return Err(CursorError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text);
        let bytes = bytes.map_err(|_| CursorError::Unknown)?;
        let (sum, value) = bytes
            .split_at_checked(CHECKSUM_BYTES)
            .ok_or(CursorError::Unknown)?;
        if sum != checksum(value) {
            return Err(CursorError::Unknown);
        }
        serde_json::from_slice(value)
            .map(Cursor)
            .map_err(|_| CursorError::Unknown)
    }
}

impl<'de, C: DeserializeOwned> Deserialize<'de> for Cursor<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

fn checksum(value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::digest(value);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&digest[..CHECKSUM_BYTES]);
    sum
}

/// How many items a page has: `DEFAULT` unless asked, 1 to `MAX`. Anything else is refused with the range:
/// who asks for a thousand and gets two hundred takes them for all there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit<const DEFAULT: u32, const MAX: u32>(u32);

impl<const DEFAULT: u32, const MAX: u32> Limit<DEFAULT, MAX> {
    /// The number of items, 1 to `MAX`.
    pub fn get(self) -> usize {
        self.0 as usize
    }

    /// What to ask the database for: one row more than the page holds, see [`Page::from_rows`].
    pub fn rows(self) -> i64 {
        i64::from(self.0) + 1
    }
}

impl<const DEFAULT: u32, const MAX: u32> Default for Limit<DEFAULT, MAX> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<'de, const DEFAULT: u32, const MAX: u32> Deserialize<'de> for Limit<DEFAULT, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(number) if (1..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(serde::de::Error::custom(format!(
                "`{text}` is no page size; give a whole number from 1 to {MAX}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_cursor_comes_back_as_what_it_was() {
        let text = Cursor((7_i64, "größe".to_owned())).to_string();
        let Cursor((number, name)) = text.parse::<Cursor<(i64, String)>>().unwrap();
        assert_eq!((number, name.as_str()), (7, "größe"));
    }

    #[test]
    fn a_cursor_that_was_changed_anywhere_is_refused() {
        let text = Cursor((7_i64, "b".to_owned())).to_string();
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(
                changed.parse::<Cursor<(i64, String)>>(),
                Err(CursorError::Unknown),
                "{changed}"
            );
        }
        for odd in ["", "a", "äöü", "%%%", &"A".repeat(11), &"A".repeat(1025)] {
            let read = odd.parse::<Cursor<(i64, String)>>();
            assert_eq!(read, Err(CursorError::Malformed), "{odd}");
        }
        assert_eq!(Cursor(0).to_string().len(), CURSOR_CHARS.0);
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let text = Cursor("room-1").to_string();
        let read = text.parse::<Cursor<(i64, String)>>();
        assert_eq!(read, Err(CursorError::Unknown));
    }

    #[test]
    fn a_page_has_a_cursor_only_while_there_is_more() {
        let more = Page::from_rows(vec![1, 2, 3], 2, |last| *last);
        assert_eq!(more.items, [1, 2]);
        assert_eq!(
            more.next.unwrap().parse::<Cursor<i32>>().unwrap(),
            Cursor(2)
        );
        let last = Page::from_rows(vec![1, 2], 2, |last| *last);
        assert_eq!(last.next, None);
        assert_eq!(
            serde_json::to_string(&last).unwrap(),
            r#"{"items":[1,2],"next":null}"#
        );
    }

    #[test]
    fn a_limit_is_a_number_from_one_to_its_maximum() {
        let parse = |text: &str| serde_json::from_value::<Limit<50, 200>>(text.into());
        assert_eq!(Limit::<50, 200>::default().get(), 50);
        assert_eq!(parse("7").unwrap().get(), 7);
        assert_eq!(parse("7").unwrap().rows(), 8);
        assert_eq!(parse("1").unwrap().get(), 1);
        assert_eq!(parse("200").unwrap().get(), 200);
        for odd in ["0", "201", "4294967297", "99999999999", "-1", "ten", ""] {
            let error = parse(odd).unwrap_err().to_string();
            assert!(error.contains("from 1 to 200"), "{odd}: {error}");
        }
    }
}
