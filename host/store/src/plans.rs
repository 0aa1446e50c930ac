//! How the database goes about the statements that must not grow with what it holds.
#![allow(clippy::unwrap_used)]

use sqlx::{AssertSqlSafe, Row as _};

use crate::effects::{HIDE, HIDE_COLLAPSING};
use crate::inbox::PLACES;
use crate::open::{Store, StoreConfig};

/// The steps that SQLite plans for a statement.
async fn plan(sql: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), StoreConfig::default())
        .await
        .unwrap();
    let mut writer = store.writer().await;
    let steps = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
        .fetch_all(writer.conn())
        .await
        .unwrap();
    steps.iter().map(|step| step.get("detail")).collect()
}

fn searches(plan: &[String], index: &str) -> bool {
    plan.iter()
        .any(|step| step.starts_with("SEARCH") && step.contains(index))
}

#[tokio::test]
async fn replacing_looks_collapse_keys_up_and_reads_no_other_notification() {
    let plan = plan(&format!("{HIDE} (1, 2, 'k') {HIDE_COLLAPSING}")).await;
    assert!(searches(&plan, "notifications_collapsing"), "{plan:?}");
    assert!(
        !plan
            .iter()
            .any(|step| step.starts_with("SCAN notifications")),
        "{plan:?}"
    );
}

#[tokio::test]
async fn a_page_of_the_inbox_walks_down_its_stream_and_sorts_nothing() {
    let plan = plan(PLACES).await;
    assert!(searches(&plan, "notifications_by_stream"), "{plan:?}");
    assert!(
        !plan.iter().any(|step| step.contains("TEMP B-TREE")),
        "{plan:?}"
    );
}
