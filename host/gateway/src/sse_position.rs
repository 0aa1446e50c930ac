//! The `id` of an event: where the client stands in each of its streams.
//!
//! `user:7@12@e1f0,group:staff@3` reads: 12 entries of `user:7` and 3 of `group:staff`, both in epoch
//! `e1f0`. An epoch is left out where it is that of the stream before.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::recovery::Asked;
use crate::streams::Position;

/// The longest id that is read back.
const MAX_BYTES: usize = 64 * 1024;

/// Writes an id: ASCII without line breaks, since it comes back in a header.
pub(crate) fn write_id(positions: &[Position]) -> String {
    let mut id = String::with_capacity(positions.len() * 24 + 16);
    let mut epoch_before = None;
    for position in positions {
        if !id.is_empty() {
            id.push(',');
        }
        escape(&position.stream, &mut id);
        // Writing to a String cannot fail.
        let _ = write!(id, "@{}", position.offset);
        if epoch_before != Some(&position.epoch) {
            id.push('@');
            escape(&position.epoch, &mut id);
        }
        epoch_before = Some(&position.epoch);
    }
    id
}

/// Reads an id; `None` if it is none of ours.
pub(crate) fn read_id(id: &str) -> Option<HashMap<String, Asked>> {
    if id.len() > MAX_BYTES {
        return None;
    }
    let mut asked = HashMap::new();
    let mut epoch = String::new();
    for part in id.split(',') {
        let mut fields = part.split('@');
        let stream = unescape(fields.next()?)?;
        let offset = fields.next()?.parse().ok()?;
        if let Some(text) = fields.next() {
            epoch = unescape(text)?;
        }
        if fields.next().is_some() {
            return None;
        }
        asked.insert(
            stream,
            Asked {
                epoch: epoch.clone(),
                offset,
            },
        );
    }
    Some(asked)
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'%' | b',' | b'@' | 0..=0x20 | 0x7f.. => {
                let _ = write!(out, "%{byte:02X}");
            }
            _ => out.push(byte.into()),
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn position(stream: &str, epoch: &str, offset: u64) -> Position {
        Position {
            stream: stream.into(),
            epoch: epoch.into(),
            offset,
        }
    }

    #[test]
    fn an_id_comes_back_as_what_it_was() {
        let positions = [
            position("user:7", "e1f0", 12),
            position("group:a,b@c %größe\n", "e1f0", 3),
            position("group:other", "e2", u64::MAX),
        ];
        let id = write_id(&positions);
        assert!(id.starts_with("user:7@12@e1f0,group:a%2Cb%40c"), "{id}");
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
        let asked = read_id(&id).unwrap();
        assert_eq!(asked.len(), 3);
        for position in positions {
            let asked = &asked[&*position.stream];
            assert_eq!(
                (asked.epoch.as_str(), asked.offset),
                (&*position.epoch, position.offset)
            );
        }
    }

    #[test]
    fn what_is_no_id_of_ours_is_told_apart() {
        for odd in [
            "",
            "17",
            "user:7",
            "user:7@x@e",
            "user:7@1@e@f",
            "user:7@-1@e",
            "%4@1@e",
            "%ff@1@e",
            "ü%",
        ] {
            assert_eq!(read_id(odd), None, "{odd}");
        }
    }
}
