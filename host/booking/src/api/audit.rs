//! The handlers of `/audit`: for those who have to know who did what.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use carillon_web::{Cursor, Page, Problem, QueryParams};
use futures_util::stream;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::{App, ListSize};
use super::bookings::Moment;
use super::caller::Caller;
use super::faults::{impossible_at, is_no_stretch};
use super::openapi::page;
use super::texts::{CursorText, Time};
use crate::actor::Role;
use crate::audit::{self, AuditEntry, AuditFilter, Place};
use crate::work::Subject;

/// How many entries of an export are read at once.
const CHUNK: i64 = 500;

/// What an export's columns are called.
const COLUMNS: [&str; 11] = [
    "seq",
    "time",
    "actor",
    "role",
    "origin",
    "correlationId",
    "action",
    "subjectKind",
    "subjectId",
    "before",
    "after",
];

/// What this part answers to, and its description.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(export))
}

/// A query for entries: which ones, and what else it says. (An unknown key is refused, and serde cannot
/// do that over structs within structs.)
macro_rules! entries_query {
    ($(#[$doc:meta])* $name:ident { $($more:tt)* }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize, utoipa::IntoParams)]
        #[into_params(parameter_in = Query)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(super) struct $name {
            /// What was changed: a kind of subject. It goes with `subjectId`.
            #[param(inline)]
            subject_kind: Option<Subject>,
            /// The id of the subject.
            subject_id: Option<String>,
            /// Short for the kind `booking` and this id. Only one subject can be given.
            booking: Option<String>,
            /// Short for the kind `resource` and this id.
            resource: Option<String>,
            /// Short for the kind `user` and this id: a user whose profile was changed.
            user: Option<String>,
            /// Who did it.
            actor: Option<String>,
            /// The kind of event that tells of it, such as `booking.created`.
            action: Option<String>,
            /// The id of the request that it was done for.
            correlation: Option<String>,
            /// Only what was done then or later.
            #[param(value_type = Option<Time>, example = "2026-05-06T09:00:00Z")]
            from: Option<Moment>,
            /// Only what was done before.
            #[param(value_type = Option<Time>, example = "2031-05-06T09:00:00Z")]
            to: Option<Moment>,
            $($more)*
        }

        impl $name {
            fn filter(&self) -> Result<AuditFilter, Problem> {
                let named = match (self.subject_kind, &self.subject_id) {
                    (Some(kind), Some(id)) => Some((kind, id)),
                    (None, None) => None,
                    (Some(_), None) => return Err(half_a_subject("subjectKind")),
                    (None, Some(_)) => return Err(half_a_subject("subjectId")),
                };
                let booking = self.booking.as_ref().map(|id| (Subject::Booking, id));
                let resource = self.resource.as_ref().map(|id| (Subject::Resource, id));
                let user = self.user.as_ref().map(|id| (Subject::User, id));
                let subjects = [
                    ("subjectId", named),
                    ("booking", booking),
                    ("resource", resource),
                    ("user", user),
                ];
                let times = self.from.zip(self.to);
                if times.is_some_and(|(Moment(from_ms), Moment(to_ms))| from_ms >= to_ms) {
                    return Err(is_no_stretch());
                }
                Ok(AuditFilter {
                    subject: only_one(subjects)?,
                    actor: self.actor.clone(),
                    action: self.action.clone(),
                    correlation_id: self.correlation.clone(),
                    from_ms: self.from.map(|Moment(from_ms)| from_ms),
                    to_ms: self.to.map(|Moment(to_ms)| to_ms),
                })
            }
        }
    };
}

entries_query! {
    /// The query of `GET /audit`.
    Listing {
        /// How many items a page has.
        #[param(inline)]
        #[serde(default)]
        limit: ListSize,
        /// `next` of the page before.
        #[param(value_type = Option<CursorText>, inline)]
        cursor: Option<Cursor<Place>>,
    }
}

entries_query! {
    /// The query of `GET /audit/export`.
    Export {
        /// JSON Lines unless asked.
        #[param(inline)]
        format: Option<Format>,
    }
}

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Csv,
    Jsonl,
}

/// A subject, and the parameter of the query that names it.
type Named<'a> = (&'static str, Option<(Subject, &'a String)>);

fn only_one(subjects: [Named<'_>; 4]) -> Result<Option<(Subject, String)>, Problem> {
    let mut given = subjects
        .into_iter()
        .filter_map(|(parameter, subject)| Some((parameter, subject?)));
    match (given.next(), given.next()) {
        (subject, None) => Ok(subject.map(|(_, (kind, id))| (kind, id.clone()))),
        (_, Some((second, _))) => Err(impossible_at(
            second,
            "give only one of subjectId, booking, resource and user",
        )),
    }
}

fn half_a_subject(given: &'static str) -> Problem {
    impossible_at(given, "give both subjectKind and subjectId, or neither")
}

page!(
    /// Entries of the audit record.
    AuditPage of AuditEntry
);

/// The audit record
///
/// The whole of it is in the order in which it was written (`seq`), so that whoever asks again with the last
/// `next` meets every entry since, even when a clock was ahead and was set right. With a filter, `from` or
/// `to` it is in the order of the times, then of `seq`.
#[utoipa::path(get, path = "/audit", tag = "audit", params(Listing),
    responses((status = 200, body = AuditPage)))]
pub(super) async fn list(
    State(App(app)): State<App>,
    caller: Caller,
    QueryParams(listing): QueryParams<Listing>,
) -> Result<Json<Page<AuditEntry>>, Problem> {
    caller.needs(Role::Admin, "The audit record")?;
    let filter = listing.filter()?;
    let after = listing.cursor.map(|Cursor(after)| after);
    let readers = &app.booking.parts().readers;
    let rows = audit::entries(readers, &filter, after, listing.limit.rows())
        .await
        .map_err(crate::error::unread)?;
    Ok(Json(Page::from_rows(
        rows,
        listing.limit.get(),
        AuditEntry::place,
    )))
}

/// The audit record as CSV or JSON Lines, all of it
///
/// In the order of `GET /audit`: the whole of it as it was written, with a filter, `from` or `to` by the times.
#[utoipa::path(get, path = "/audit/export", tag = "audit", params(Export),
    responses((status = 200, content((String = "application/jsonl"), (String = "text/csv")))))]
pub(super) async fn export(
    State(App(app)): State<App>,
    caller: Caller,
    QueryParams(wanted): QueryParams<Export>,
) -> Result<Response, Problem> {
    caller.needs(Role::Admin, "The audit record")?;
    let filter = wanted.filter()?;
    let format = wanted.format.unwrap_or(Format::Jsonl);
    let readers = app.booking.parts().readers.clone();
    let head = match format {
        Format::Csv => csv_lines([COLUMNS.map(str::to_owned)]),
        Format::Jsonl => Vec::new(),
    };
    // The place is within an option of its own: none at the start, and none to go on from at the end.
    let state = (Some(None), head, readers, filter);
    let chunks = stream::unfold(state, move |(after, head, readers, filter)| async move {
        let after = after?;
        let rows = match audit::entries(&readers, &filter, after, CHUNK).await {
            Ok(rows) => rows,
            Err(error) => {
                // The answer has begun: all that can be done is to break it off where it can be seen.
                tracing::error!(%error, "an export of the audit record was broken off");
                return Some((
                    Err(std::io::Error::other(error)),
                    (None, Vec::new(), readers, filter),
                ));
            }
        };
        let next = rows.last().map(|last| Some(last.place()));
        let mut bytes = head;
        bytes.extend(match format {
            Format::Csv => csv_lines(rows.iter().map(columns)),
            Format::Jsonl => json_lines(&rows),
        });
        if next.is_none() && bytes.is_empty() {
            return None;
        }
        Some((Ok(Bytes::from(bytes)), (next, Vec::new(), readers, filter)))
    });
    let (media, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8; header=present", "audit.csv"),
        Format::Jsonl => ("application/jsonl", "audit.jsonl"),
    };
    let headers = [
        (header::CONTENT_TYPE, media.to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

fn json_lines(rows: &[AuditEntry]) -> Vec<u8> {
    let mut lines = Vec::new();
    for row in rows {
        // What was read as JSON can be written as JSON, into memory.
        lines.extend(serde_json::to_vec(row).unwrap_or_default());
        lines.push(b'\n');
    }
    lines
}

fn columns(row: &AuditEntry) -> [String; 11] {
    let state = |state: &Option<Box<serde_json::value::RawValue>>| {
        state
            .as_ref()
            .map_or_else(String::new, |state| state.get().to_owned())
    };
    [
        row.seq.to_string(),
        crate::rfc3339::print(row.at_ms),
        row.actor.clone(),
        row.role.clone(),
        row.origin.clone().unwrap_or_default(),
        row.correlation_id.clone(),
        row.action.clone(),
        row.subject_kind.clone(),
        row.subject_id.clone(),
        state(&row.before),
        state(&row.after),
    ]
}

/// RFC 4180. A spreadsheet takes what begins like a formula for one, so that gets an apostrophe.
fn csv_lines(rows: impl IntoIterator<Item = [String; 11]>) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for row in rows {
        let row = row.map(|field| match field.starts_with(['=', '+', '-', '@']) {
            true => format!("'{field}"),
            false => field,
        });
        // Writing into memory does not fail.
        let _ = writer.write_record(row);
    }
    writer.into_inner().unwrap_or_default()
}
