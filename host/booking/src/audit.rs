//! The audit record, read: who did what to which booking, from where, before and after.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteExecutor, sqlite::SqliteRow};

use crate::actor::{ANYBODY, SERVICE};
use crate::rfc3339;
use crate::work::Subject;

/// One entry.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditEntry {
    /// Counts the entries.
    pub(crate) seq: i64,
    #[serde(rename = "time", serialize_with = "rfc3339::serialize")]
    #[schema(schema_with = rfc3339::schema)]
    pub(crate) at_ms: i64,
    /// The user; `anybody` where no token was required, `service` for what it did by itself.
    pub(crate) actor: String,
    pub(crate) role: String,
    /// The address that the request came from.
    pub(crate) origin: Option<String>,
    pub(crate) correlation_id: String,
    /// The kind of event that tells of it.
    pub(crate) action: String,
    pub(crate) subject_kind: String,
    pub(crate) subject_id: String,
    /// The subject as it was.
    #[schema(value_type = Option<Object>)]
    pub(crate) before: Option<Box<RawValue>>,
    /// The subject as it was then.
    #[schema(value_type = Option<Object>)]
    pub(crate) after: Option<Box<RawValue>>,
}

impl AuditEntry {
    /// Where whoever has read it stands.
    pub(crate) fn place(&self) -> Place {
        (self.at_ms, self.seq)
    }
}

impl<'r> sqlx::FromRow<'r, SqliteRow> for AuditEntry {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        let state = |column: &str| -> Result<Option<Box<RawValue>>, sqlx::Error> {
            let text: Option<String> = row.try_get(column)?;
            text.map(RawValue::from_string)
                .transpose()
                .map_err(|error| sqlx::Error::Decode(error.into()))
        };
        Ok(Self {
            seq: row.try_get("seq")?,
            at_ms: row.try_get("at_ms")?,
            actor: row.try_get("actor")?,
            role: row.try_get("role")?,
            origin: row.try_get("origin")?,
            correlation_id: row.try_get("correlation_id")?,
            action: row.try_get("action")?,
            subject_kind: row.try_get("subject_kind")?,
            subject_id: row.try_get("subject_id")?,
            before: state("before")?,
            after: state("after")?,
        })
    }
}

/// Which entries are wanted; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AuditFilter {
    /// Kind and id.
    pub(crate) subject: Option<(Subject, String)>,
    pub(crate) actor: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) from_ms: Option<i64>,
    pub(crate) to_ms: Option<i64>,
}

/// Where a reader stands: the time and the number of the last entry that was read.
pub(crate) type Place = (i64, i64);

/// Entries after a place, at most `limit`. The whole record is in the order in which it was written, so that
/// what is written next comes after every place in it. What a filter or a time picks from it is in the order
/// of the times, which is another one where a clock was ahead and set right.
pub(crate) async fn entries(
    database: impl SqliteExecutor<'_>,
    filter: &AuditFilter,
    after: Option<Place>,
    limit: i64,
) -> Result<Vec<AuditEntry>, sqlx::Error> {
    filter
        .query(after, limit)
        .build_query_as()
        .fetch_all(database)
        .await
}

impl AuditFilter {
    fn query(&self, after: Option<Place>, limit: i64) -> QueryBuilder<Sqlite> {
        match *self == Self::default() {
            true => written_after(after, limit),
            false => self.picked_after(after, limit),
        }
    }

    fn picked_after(&self, after: Option<Place>, limit: i64) -> QueryBuilder<Sqlite> {
        // One lower bound: of two, the database would walk from the first of the stretch for each page.
        let from = self.from_ms.map(|from_ms| (from_ms, i64::MIN));
        let (at_ms, seq) = after.max(from).unwrap_or((i64::MIN, i64::MIN));
        let mut query = QueryBuilder::new("SELECT * FROM audit WHERE (at_ms, seq) > (");
        query.push_bind(at_ms).push(", ").push_bind(seq).push(")");
        if let Some(to_ms) = self.to_ms {
            query.push(" AND at_ms < ").push_bind(to_ms);
        }
        // The rarest first: its index is walked, and the others are only compared. The plus sign says so to
        // the planner, which takes an action that has a million entries for as rare as a subject with three.
        for (place, (column, value)) in self.rarest_first().enumerate() {
            query.push(if place == 0 { " AND " } else { " AND +" });
            query.push(column).push(" = ").push_bind(value);
        }
        if let Some((kind, _)) = &self.subject {
            query.push(" AND subject_kind = ").push_bind(kind.as_str());
        }
        query.push(" ORDER BY at_ms, seq LIMIT ").push_bind(limit);
        query
    }

    /// What is given, each a column and its value.
    fn rarest_first(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let actor = ("actor", self.actor.as_deref());
        let action = ("action", self.action.as_deref());
        // A user does less than all do of one action; these two do most of everything.
        let (third, fourth) = match self.actor.as_deref() {
            Some(SERVICE | ANYBODY) => (action, actor),
            _ => (actor, action),
        };
        let subject_id = self.subject.as_ref().map(|(_, id)| id.as_str());
        let given = [
            ("correlation_id", self.correlation_id.as_deref()),
            ("subject_id", subject_id),
            third,
            fourth,
        ];
        given
            .into_iter()
            .filter_map(|(column, value)| Some((column, value?)))
    }
}

/// The record itself, along its primary key.
fn written_after(after: Option<Place>, limit: i64) -> QueryBuilder<Sqlite> {
    let seq = after.map_or(0, |(_, seq)| seq);
    let mut query = QueryBuilder::new("SELECT * FROM audit WHERE seq > ");
    query.push_bind(seq);
    query.push(" ORDER BY seq LIMIT ").push_bind(limit);
    query
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};

    use super::*;

    #[tokio::test]
    async fn whatever_is_asked_for_is_a_walk_along_an_index() {
        let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::migrate!().run(&mut database).await.unwrap();
        let explained = async |database: &mut SqliteConnection, filter: &AuditFilter| -> String {
            let query = filter.query(Some((1, 1)), 51);
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", query.sql().as_str()));
            let rows = sqlx::query(explain).fetch_all(database).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            let [step] = &plan[..] else {
                panic!("it sorts: {plan:?}");
            };
            step.clone()
        };
        let whole = explained(&mut database, &AuditFilter::default()).await;
        assert!(
            whole.ends_with("USING INTEGER PRIMARY KEY (rowid>?)"),
            "{whole}"
        );

        let by_correlation = "audit_by_correlation (correlation_id=? AND at_ms>?";
        let by_subject = "audit_by_subject (subject_kind=? AND subject_id=? AND at_ms>?";
        let by_actor = "audit_by_actor (actor=? AND at_ms>?";
        let by_action = "audit_by_action (action=? AND at_ms>?";
        let by_time = "audit_by_time (at_ms>?";
        for (who, bits) in [ANYBODY, SERVICE, "hana"]
            .into_iter()
            .flat_map(|who| (1..64_u8).map(move |bits| (who, bits)))
        {
            let given = |bit: u8| (bits >> bit) & 1 == 1;
            let value = |bit: u8| given(bit).then(|| "a".to_owned());
            let filter = AuditFilter {
                correlation_id: value(0),
                subject: value(1).map(|id| (Subject::Series, id)),
                actor: given(2).then(|| who.to_owned()),
                action: value(3),
                from_ms: given(4).then_some(1),
                to_ms: given(5).then_some(2),
            };
            let rarest = match (given(0), given(1), given(2), given(3)) {
                (true, ..) => by_correlation,
                (_, true, ..) => by_subject,
                (_, _, true, true) if who != "hana" => by_action,
                (_, _, true, _) => by_actor,
                (.., true) => by_action,
                _ => by_time,
            };
            let end = if given(5) { " AND at_ms<?)" } else { ")" };
            let expected = format!("USING INDEX {rarest}{end}");
            let step = explained(&mut database, &filter).await;
            assert!(step.ends_with(&expected), "{filter:?}: {step}");
        }
    }
}
