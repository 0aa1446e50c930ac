//! What is looked at before and beside the parser: nesting, and escapes that the parser lets
//! through because it skips `eventData` instead of reading it.

use crate::{DecodeError, MAX_DEPTH};

/// What the scan found in the strings of a record, at which byte. Only worth saying once the
/// record has turned out to be JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Escapes {
    null_at: Option<usize>,
    lone_surrogate_at: Option<usize>,
}

impl Escapes {
    /// Refuses what no text may hold. U+0000 cannot be stored as text by PostgreSQL and would be
    /// held against the first plugin that copies it into a notification; half a surrogate pair
    /// would fail in each plugin's own JSON parser. Both are the producer's fault.
    pub(crate) fn check(self) -> Result<(), DecodeError> {
        if let Some(offset) = self.null_at {
            return Err(DecodeError::NullCharacter { offset });
        }
        if let Some(offset) = self.lone_surrogate_at {
            return Err(DecodeError::LoneSurrogate { offset });
        }
        Ok(())
    }
}

/// Measures the nesting and finds troublesome escapes, in one pass without allocation.
///
/// Nearly every record has few brackets and no backslash: counting those takes a fraction of the
/// time of following the strings, and is proof enough.
pub(crate) fn scan(text: &str) -> Result<Escapes, DecodeError> {
    let bytes = text.as_bytes();
    if is_plainly_harmless(bytes) {
        return Ok(Escapes::default());
    }
    follow(bytes)
}

/// Whether there are too few opening brackets to nest too deeply, in strings or out, and no escape.
fn is_plainly_harmless(bytes: &[u8]) -> bool {
    let mut opening = 0_usize;
    let mut escapes = 0_usize;
    // Blocks short enough that a byte can count them (so that `wrapping_add` never wraps), which
    // lets the compiler make vector code of it.
    for block in bytes.chunks(255) {
        let mut opening_here = 0_u8;
        let mut escapes_here = 0_u8;
        for &byte in block {
            // `[` and `{` differ in the bit 0x20 only.
            opening_here = opening_here.wrapping_add(u8::from(byte | 0x20 == b'{'));
            escapes_here |= u8::from(byte == b'\\');
        }
        opening += usize::from(opening_here);
        escapes += usize::from(escapes_here);
    }
    opening <= MAX_DEPTH && escapes == 0
}

fn follow(bytes: &[u8]) -> Result<Escapes, DecodeError> {
    let mut escapes = Escapes::default();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = follow_string(bytes, at + 1, &mut escapes),
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(DecodeError::TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(escapes)
}

/// Goes through a string from behind its opening quote; the position of its closing quote.
fn follow_string(bytes: &[u8], mut at: usize, escapes: &mut Escapes) -> usize {
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += follow_escape(bytes, at, escapes),
            _ => at += 1,
        }
    }
    at
}

/// Looks at the escape that begins at `at`; how many bytes it takes.
fn follow_escape(bytes: &[u8], at: usize, escapes: &mut Escapes) -> usize {
    const UNIT_BYTES: usize = "\\u0000".len();
    match code_unit(bytes, at) {
        None => return 2,
        Some(0) => escapes.null_at = escapes.null_at.or(Some(at)),
        Some(0xD800..=0xDBFF) => {
            if let Some(0xDC00..=0xDFFF) = code_unit(bytes, at + UNIT_BYTES) {
                return 2 * UNIT_BYTES;
            }
            escapes.lone_surrogate_at = escapes.lone_surrogate_at.or(Some(at));
        }
        Some(0xDC00..=0xDFFF) => {
            escapes.lone_surrogate_at = escapes.lone_surrogate_at.or(Some(at));
        }
        Some(_) => {}
    }
    UNIT_BYTES
}

/// The UTF-16 code unit of `\uXXXX` at `at`, where there is one.
fn code_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0_u16, |unit, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        Some(unit << 4 | u16::from(value))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_counted_outside_of_strings_only() {
        let deepest = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert!(scan(&deepest).is_ok());
        assert_eq!(scan(&format!("[{deepest}]")), Err(DecodeError::TooDeep));
        let in_string = format!("{{\"a\": \"\\\"{}\"}}", "[".repeat(1000));
        assert!(scan(&in_string).is_ok());
        let beside_each_other = format!("[{}]", "[{}],".repeat(1000));
        assert!(scan(&beside_each_other).is_ok());
    }

    #[test]
    fn the_quick_count_agrees_with_the_long_way_on_every_byte() {
        for byte in 0..128_u8 {
            let one = [byte];
            assert_eq!(
                is_plainly_harmless(&one.repeat(MAX_DEPTH + 1)),
                !matches!(byte, b'[' | b'{' | b'\\'),
                "{byte}"
            );
        }
        assert!(!is_plainly_harmless(&b"[".repeat(255 * 256)));
    }

    #[test]
    fn an_escaped_backslash_before_u0000_is_no_null_character() {
        assert_eq!(scan(r#"["\\u0000"]"#).unwrap(), Escapes::default());
        assert_eq!(scan(r#"["\\\u0000"]"#).unwrap().null_at, Some(4));
        assert_eq!(scan(r#"["\u0001 \u000"]"#).unwrap(), Escapes::default());
    }

    #[test]
    fn a_surrogate_needs_its_counterpart() {
        assert_eq!(scan(r#"["\ud83d\uDE00"]"#).unwrap(), Escapes::default());
        for text in [
            r#"["\ud83d"]"#,
            r#"["\ud83dx"]"#,
            r#"["\ude00"]"#,
            r#"["\ud83d\u0041"]"#,
        ] {
            assert_eq!(scan(text).unwrap().lone_surrogate_at, Some(2), "{text}");
        }
        assert_eq!(
            scan(r#"["\ud83d\ud83d\ude00"]"#).unwrap().lone_surrogate_at,
            Some(2)
        );
    }
}
