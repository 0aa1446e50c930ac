//! Why a record is not an event.

use crate::{KindError, MAX_DEPTH, MAX_IDENTIFIER_BYTES, MAX_RECORD_BYTES};

/// Why a record is not an event. The text is a sentence for the person who looks at the dead
/// letter: what is wrong, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Nothing, or nothing but white space (a tombstone of a compacted topic, for example).
    #[error("the record is empty: an event is a JSON object with eventId, eventType and timestamp")]
    Empty,
    /// Longer than [`MAX_RECORD_BYTES`].
    #[error(
        "the record has {bytes} bytes, more than the {MAX_RECORD_BYTES} that an event may have"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("the record is not UTF-8 text: byte {offset} (counted from 0) does not belong there")]
    NotUtf8 {
        /// The first byte that is wrong, from 0.
        offset: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error(
        "the record is nested more than {MAX_DEPTH} levels deep: arrays and objects inside each other may go no deeper"
    )]
    TooDeep,
    /// The JSON ends too early.
    #[error("the record is cut off: its JSON ends after {bytes} bytes in the middle of {inside}")]
    CutOff {
        /// Its size.
        bytes: usize,
        /// What was not closed.
        inside: &'static str,
    },
    /// Not JSON.
    #[error("the record, which begins with {beginning:?}, is not JSON: {reason}")]
    NotJson {
        /// What the parser met, with line and column.
        reason: String,
        /// The first characters of the record.
        beginning: String,
    },
    /// JSON, but no object.
    #[error(
        "the record is {found}, but an event is a JSON object with eventId, eventType and timestamp"
    )]
    NotAnObject {
        /// What it is instead, with its article.
        found: &'static str,
    },
    /// A field that every event has is missing.
    #[error("{field} is missing")]
    Missing {
        /// The field's name.
        field: &'static str,
    },
    /// A field is of the wrong JSON type.
    #[error("{field} must be {expected}, but it is {found}")]
    WrongType {
        /// The field's name.
        field: &'static str,
        /// What it must be, with its article.
        expected: &'static str,
        /// What it is, with its article.
        found: &'static str,
    },
    /// A field of the envelope stands in the record twice.
    #[error("{field} is given twice, and nobody can tell which one counts")]
    Duplicate {
        /// The field's name.
        field: &'static str,
    },
    /// `eventType` is no kind.
    #[error("eventType {text:?} is not the name of a kind: {reason}")]
    InvalidKind {
        /// What stands there, shortened.
        text: String,
        /// What is wrong with it.
        reason: KindError,
    },
    /// `timestamp` is not RFC 3339.
    #[error(
        "timestamp {text:?} is not a time: it must be RFC 3339, as in \"2025-08-19T10:00:00Z\""
    )]
    InvalidTime {
        /// What stands there, shortened.
        text: String,
    },
    /// An identifier is empty where one is needed.
    #[error("{field} is empty")]
    EmptyIdentifier {
        /// The field's name.
        field: &'static str,
    },
    /// An identifier is longer than [`MAX_IDENTIFIER_BYTES`].
    #[error(
        "{field} has {bytes} bytes, more than the {MAX_IDENTIFIER_BYTES} that an identifier may have"
    )]
    LongIdentifier {
        /// The field's name.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// An identifier holds a control character.
    #[error("{field} holds the control character U+{character:04X}, which no identifier may hold")]
    ControlCharacter {
        /// The field's name.
        field: &'static str,
        /// The character's code point.
        character: u32,
    },
    /// A string holds U+0000.
    #[error(
        "the record holds the character U+0000 (as \\u0000, at byte {offset}), which no text in Carillon may hold: remove it at the producer"
    )]
    NullCharacter {
        /// Where the escape begins, from 0.
        offset: usize,
    },
    /// A string holds half of a surrogate pair.
    #[error(
        "the record holds half a character at byte {offset}: an escape from \\ud800 to \\udfff that has no counterpart"
    )]
    LoneSurrogate {
        /// Where the escape begins, from 0.
        offset: usize,
    },
}

impl DecodeError {
    /// A short name for metrics and headers, in kebab case. It stays the same between versions,
    /// while the sentence may change.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            DecodeError::Empty => "empty",
            DecodeError::TooLarge { .. } => "too-large",
            DecodeError::NotUtf8 { .. } => "not-utf-8",
            DecodeError::TooDeep => "too-deep",
            DecodeError::CutOff { .. } => "cut-off",
            DecodeError::NotJson { .. } => "not-json",
            DecodeError::NotAnObject { .. } => "not-an-object",
            DecodeError::Missing { .. } => "missing-field",
            DecodeError::WrongType { .. } => "wrong-type",
            DecodeError::Duplicate { .. } => "duplicate-field",
            DecodeError::InvalidKind { .. } => "invalid-kind",
            DecodeError::InvalidTime { .. } => "invalid-time",
            DecodeError::EmptyIdentifier { .. } => "empty-identifier",
            DecodeError::LongIdentifier { .. } => "long-identifier",
            DecodeError::ControlCharacter { .. } => "control-character",
            DecodeError::NullCharacter { .. } => "null-character",
            DecodeError::LoneSurrogate { .. } => "lone-surrogate",
        }
    }
}

/// The beginning of a text from outside, short enough for a log line. Quoting is done where it is
/// printed (`{:?}`), which escapes control characters too.
pub(crate) fn excerpt(text: &str) -> String {
    const MAX_CHARACTERS: usize = 64;
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
