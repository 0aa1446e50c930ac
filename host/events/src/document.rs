//! The page `docs/events.md`, printed from the catalogue so that it cannot be out of date.

use std::fmt::{Error, Write};

use crate::catalogue::{self, DataField, KindEntry};
use crate::{
    DecodeError, MAX_DEPTH, MAX_IDENTIFIER_BYTES, MAX_KIND_BYTES, MAX_RECORD_BYTES, Topic, decode,
};

/// The record that the page shows as an example.
const EXAMPLE: &str = r#"{
  "eventId": "0198c1a2-7c1e-7b60-9f3e-6d0a4f6f2b11",
  "eventType": "booking.created",
  "bookingId": "booking-123",
  "userId": "user-1",
  "resourceId": "room-1",
  "timestamp": "2025-08-19T10:00:00Z",
  "eventData": {
    "id": "booking-123",
    "title": "Team Meeting",
    "status": "confirmed",
    "startTime": "2025-08-19T14:00:00Z",
    "endTime": "2025-08-19T16:00:00Z",
    "attendeesCount": 5
  },
  "metadata": {
    "service": "booking-service",
    "version": "1.0.0",
    "correlationId": "req-456"
  }
}"#;

/// Records that are no events; what the page says of them is what `decode` says.
const REFUSED: &[&str] = &[
    "",
    "hello",
    r#"{"eventId":"e-1","eventType":"booking.created""#,
    "[1,2,3]",
    r#"{"eventId":"e-1"}"#,
    r#"{"eventId":"e-1","eventType":7}"#,
    r#"{"eventType":"booking.created","eventType":"booking.updated"}"#,
    r#"{"eventId":"e-1","eventType":"Booking Created"}"#,
    r#"{"eventId":"","eventType":"booking.created"}"#,
    r#"{"eventId":"e\n1","eventType":"booking.created"}"#,
    r#"{"eventId":"e-1","eventType":"booking.created","timestamp":"yesterday"}"#,
    r#"{"eventId":"e-1","eventData":{"title":"\u0000"}}"#,
    r#"{"eventId":"e-1","eventData":{"title":"\ud83d"}}"#,
];

/// The page, in Markdown.
///
/// A test compares it with the file; `CARILLON_UPDATE_DOCS=1 cargo test -p carillon-events` writes
/// the file anew.
#[must_use]
pub fn catalogue_markdown() -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(&mut page);
    page
}

fn write_page(page: &mut String) -> Result<(), Error> {
    page.push_str(
        "# Events\n\n\
         <!-- Printed from the catalogue in host/events. To change it, change the catalogue and run\n     \
         CARILLON_UPDATE_DOCS=1 cargo test --release -p carillon-events --test document -->\n\n\
         What Carillon reads from the event topics: the envelope, every kind that it knows, and what\n\
         it refuses.\n\n",
    );
    write_envelope(page)?;
    write_overview(page)?;
    for topic in Topic::ALL {
        write_topic(page, topic)?;
    }
    write_aliases(page)?;
    write_unknown(page);
    write_refusals(page)
}

fn write_envelope(page: &mut String) -> Result<(), Error> {
    writeln!(page, "## The envelope\n\n```json\n{EXAMPLE}\n```\n")?;
    page.push_str(
        "| field | needed | what it holds |\n| --- | --- | --- |\n\
         | `eventId` | yes | the event's id; a record that is sent again keeps it |\n\
         | `eventType` | yes | the kind, one of those below or any other of the same form |\n\
         | `timestamp` | yes | when it happened: RFC 3339, any offset, any fraction of a second (read to the millisecond) |\n\
         | `userId` | no | the user whom it is about, or who caused it |\n\
         | `resourceId` | no | the room, desk or device it is about |\n\
         | `bookingId`, `waitlistId`, `subjectId` | no | the thing that changed; which of them, see each kind |\n\
         | `eventData` | no | an object with the particulars; missing or `null` means `{}` |\n\
         | `metadata` | no | an object: `service` and `version` of the producer, `correlationId` of the request that caused the event |\n\n",
    );
    writeln!(
        page,
        "Fields that are not in this table are ignored; `null`, and in an identifier the empty string,\n\
         counts as missing. Plugins get `eventData` as the text that the producer wrote, byte for byte.\n\n\
         A plugin's `subject-id` is `subjectId` where the record has one (any producer may write it),\n\
         else the first of the places that the kind's table names.\n\n\
         Bounds: {MAX_RECORD_BYTES} bytes a record, {MAX_DEPTH} levels of arrays and objects (the record itself is\n\
         the first), {MAX_IDENTIFIER_BYTES} bytes an identifier (`eventId`, `userId` … and the three of `metadata`),\n\
         {MAX_KIND_BYTES} bytes a kind.\n"
    )
}

fn write_overview(page: &mut String) -> Result<(), Error> {
    page.push_str(
        "## Topics\n\nThe names are the defaults; each is configurable by its key.\n\n\
         | topic | key in the configuration | kinds |\n| --- | --- | --- |\n",
    );
    for topic in Topic::ALL {
        let names: Vec<_> = kinds_of(topic)
            .map(|entry| format!("`{}`", entry.name))
            .collect();
        let names = names.join(", ");
        writeln!(page, "| `{topic}` | `{}` | {names} |", topic.config_key())?;
    }
    page.push('\n');
    Ok(())
}

fn kinds_of(topic: Topic) -> impl Iterator<Item = &'static KindEntry> {
    catalogue::kinds()
        .iter()
        .filter(move |entry| entry.topic == topic)
}

fn write_topic(page: &mut String, topic: Topic) -> Result<(), Error> {
    writeln!(page, "## `{topic}`\n")?;
    page.push_str("| kind | when | `subject-id` from | produced by |\n| --- | --- | --- | --- |\n");
    for entry in kinds_of(topic) {
        let places: Vec<_> = entry
            .subject
            .read_from()
            .iter()
            .map(|place| format!("`{place}`"))
            .collect();
        let places = if places.is_empty() {
            "`subjectId` only".to_owned()
        } else {
            places.join(", else ")
        };
        writeln!(
            page,
            "| `{}` | {} | {places} | {} |",
            entry.name, entry.summary, entry.owner
        )?;
    }
    page.push('\n');
    // Kinds of one topic share their fields; a kind with fields of its own gets a table of its own.
    let mut shown: Vec<&[DataField]> = Vec::new();
    for entry in kinds_of(topic) {
        if shown.iter().any(|data| std::ptr::eq(*data, entry.data)) {
            continue;
        }
        shown.push(entry.data);
        page.push_str("| field of `eventData` | type | what it holds |\n| --- | --- | --- |\n");
        for field in entry.data {
            writeln!(
                page,
                "| `{}` | {} | {} |",
                field.name, field.json_type, field.summary
            )?;
        }
        page.push('\n');
    }
    Ok(())
}

fn write_aliases(page: &mut String) -> Result<(), Error> {
    page.push_str(
        "## Aliases\n\nThe two seed documents spell some kinds differently. Both spellings are read, in records and\n\
         in subscriptions, and mean the same; plugins see the canonical one.\n\n\
         | alias | canonical |\n| --- | --- |\n",
    );
    for entry in catalogue::kinds() {
        for alias in entry.aliases {
            writeln!(page, "| `{alias}` | `{}` |", entry.name)?;
        }
    }
    page.push('\n');
    Ok(())
}

fn write_unknown(page: &mut String) {
    page.push_str(
        "## Kinds that are not listed\n\n\
         A kind is two or more parts with dots between them (`booking.series.created`), each beginning\n\
         with a lower-case letter and made of lower-case letters, digits, `_` and `-`. The part before the\n\
         first dot is the family. A kind of that form which is not listed here reaches every plugin that\n\
         subscribes to it by name, by family (`booking.*`) or to everything (`*`); in a family that is\n\
         listed, its `subject-id` is read from the same places.\n\n",
    );
}

fn write_refusals(page: &mut String) -> Result<(), Error> {
    page.push_str(
        "## What is refused\n\nA record that is no event becomes a dead letter of the `intake` lane with the whole record, a\n\
         code for machines and a sentence for people:\n\n\
         | code | for example |\n| --- | --- |\n",
    );
    let errors = REFUSED
        .iter()
        .filter_map(|record| decode(record.as_bytes()).err())
        .chain([
            DecodeError::NotUtf8 { offset: 17 },
            DecodeError::TooLarge {
                bytes: 2 * MAX_RECORD_BYTES,
            },
            DecodeError::TooDeep,
            DecodeError::LongIdentifier {
                field: "eventId",
                bytes: 2 * MAX_IDENTIFIER_BYTES,
            },
        ]);
    for error in errors {
        let sentence = error.to_string().replace('\\', "\\\\").replace('*', "\\*");
        writeln!(page, "| `{}` | {sentence} |", error.code())?;
    }
    page.push_str(
        "\nU+0000 is refused anywhere in a record, because no text in Carillon may hold it: the first\n\
         plugin that copied it into a notification would otherwise be held guilty of it. Two fields of\n\
         the same name are refused in the envelope and in `metadata` where the field is one of those above\n\
         (and for the identifiers in `eventData` that name a subject); the rest of `eventData` belongs to\n\
         producers and plugins and is only required to be JSON.\n",
    );
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_example_on_the_page_is_an_event() {
        let event = decode(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(event.subject_id.as_deref(), Some("booking-123"));
    }

    #[test]
    fn every_refused_example_is_refused_for_a_reason_of_its_own() {
        let sentences: std::collections::BTreeSet<_> = REFUSED
            .iter()
            .map(|record| decode(record.as_bytes()).unwrap_err().to_string())
            .collect();
        assert_eq!(sentences.len(), REFUSED.len());
    }
}
