//! `/admin/dead-letters`: what could not be handled.

use axum::Json;
use axum::extract::State;
use carillon_pipeline::{DeadLetterQuery, DeadLetterView, LetterReplayed};
use carillon_web::{Cursor, JsonBody, Limit, Page, PathParams, Problem, QueryParams};
use serde::{Deserialize, Serialize};

use super::access::By;
use super::{invalid, problem, whole};
use crate::gateway::AppState;

/// Letters of a page unless asked otherwise.
const DEFAULT_LIMIT: u32 = 50;

/// The most letters of a page.
const MAX_LIMIT: u32 = 500;

/// The most letters that one request replays or purges by number: each is handled while the
/// caller waits.
const MAX_IDS: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    plugin: Option<String>,
    code: Option<String>,
    topic: Option<String>,
    /// `next` of the page before.
    after: Option<Cursor<i64>>,
    #[serde(default)]
    limit: Limit<DEFAULT_LIMIT, MAX_LIMIT>,
}

/// `GET /admin/dead-letters`: newest first.
pub(crate) async fn list(
    State(AppState(shared)): State<AppState>,
    QueryParams(query): QueryParams<Query>,
) -> Result<Json<Page<DeadLetterView>>, Problem> {
    let limit = query.limit.get();
    // The limit is at most MAX_LIMIT.
    let rows = u32::try_from(query.limit.rows()).unwrap_or(MAX_LIMIT);
    let after = query.after.map(|Cursor(id)| id);
    let wanted = DeadLetterQuery {
        plugin: query.plugin,
        code: query.code,
        topic: query.topic,
    };
    let letters = shared.operations.dead_letters(&wanted, after, rows).await;
    let letters = letters.map_err(problem)?;
    Ok(Json(Page::from_rows(letters, limit, |letter| letter.id)))
}

/// `GET /admin/dead-letters/{id}`: one, with its record.
pub(crate) async fn show(
    State(AppState(shared)): State<AppState>,
    PathParams(id): PathParams<i64>,
) -> Result<Json<DeadLetterView>, Problem> {
    let letter = shared.operations.dead_letter(id).await;
    letter.map(Json).map_err(problem)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replay {
    ids: Vec<i64>,
    /// To this plugin, instead of the one that failed.
    plugin: Option<String>,
}

/// `POST /admin/dead-letters/replay`: hands letters to a plugin again.
pub(crate) async fn replay(
    State(AppState(shared)): State<AppState>,
    By(operator): By,
    JsonBody(replay): JsonBody<Replay>,
) -> Result<Json<Page<LetterReplayed>>, Problem> {
    if replay.ids.is_empty() {
        return Err(invalid("`ids` is empty: name the letters to replay."));
    }
    check_number(&replay.ids)?;
    let operations = &shared.operations;
    let plugin = replay.plugin.as_deref();
    let outcomes = operations
        .replay_dead_letters(&replay.ids, plugin, &operator)
        .await;
    outcomes.map(whole).map(Json).map_err(problem)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PurgeQuery {
    /// Numbers, with commas between them.
    ids: Option<String>,
    plugin: Option<String>,
    code: Option<String>,
    topic: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Purged {
    purged: u64,
}

/// `DELETE /admin/dead-letters`: letters that nobody needs any more. Which ones must be said,
/// by numbers or by a filter.
pub(crate) async fn purge(
    State(AppState(shared)): State<AppState>,
    By(operator): By,
    QueryParams(query): QueryParams<PurgeQuery>,
) -> Result<Json<Purged>, Problem> {
    let ids = ids(query.ids.as_deref().unwrap_or_default())?;
    check_number(&ids)?;
    let filter = DeadLetterQuery {
        plugin: query.plugin,
        code: query.code,
        topic: query.topic,
    };
    let (by_number, by_filter) = (!ids.is_empty(), filter != DeadLetterQuery::default());
    if by_number == by_filter {
        return Err(invalid(
            "Say which letters go: either `ids` (numbers, with commas between them), or a filter of `plugin`, `code` and `topic`.",
        ));
    }
    let operations = &shared.operations;
    let purged = operations
        .purge_dead_letters(&ids, &filter, &operator)
        .await;
    let purged = purged.map_err(problem)?;
    Ok(Json(Purged { purged }))
}

fn ids(text: &str) -> Result<Vec<i64>, Problem> {
    text.split(',')
        .filter(|id| !id.is_empty())
        .map(|id| {
            id.trim()
                .parse()
                .map_err(|_| invalid(format!("`{id}` is no number of a dead letter.")))
        })
        .collect()
}

fn check_number(ids: &[i64]) -> Result<(), Problem> {
    if ids.len() > MAX_IDS {
        return Err(invalid(format!(
            "{} letters at once are too many: send at most {MAX_IDS}.",
            ids.len()
        )));
    }
    Ok(())
}
