//! How the database goes about the statements that must not grow with what it holds.
#![allow(clippy::unwrap_used)]

use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::audit::AUDIT_OF_PLUGIN;
use crate::dead_letters::{self, DeadLetterFilter, DeadLetterRow, OF_EVENT};
use crate::effects::{HIDE, HIDE_COLLAPSING};
use crate::explain::{NOTIFICATIONS, OF_RECORD, OF_STRETCH, SIZES_OF_STRETCH};
use crate::identity::{LogId, PluginId, TrialId, VersionId};
use crate::inbox::PLACES;
use crate::open::{Store, StoreConfig};
use crate::share::{CursorMove, Decision, Lane, Outcome, Share, Source};
use crate::trial_answers::{Side, TrialAnswer};
use crate::trial_comparison::{DIFFERENT_KEYS, RELATIONS};
use crate::trial_trimming::{FORGET, HAVING, keys_of};

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

/// Whether no table is read whole and nothing is sorted.
fn walks_only(plan: &[String]) -> bool {
    !plan
        .iter()
        .any(|step| step.starts_with("SCAN") || step.contains("TEMP B-TREE"))
}

#[tokio::test]
async fn the_notifications_of_a_record_are_looked_up() {
    let plan = plan(&format!("{NOTIFICATIONS} WHERE {OF_RECORD}")).await;
    assert!(searches(&plan, "notifications_by_record"), "{plan:?}");
    assert!(walks_only(&plan), "{plan:?}");
}

#[tokio::test]
async fn what_a_plugin_made_of_a_stretch_of_a_log_is_walked_along_it() {
    let notifications = format!("{NOTIFICATIONS} WHERE {OF_STRETCH}");
    for (statement, index) in [
        (&*notifications, "notifications_by_record"),
        (SIZES_OF_STRETCH, "notifications_by_record"),
        (dead_letters::OF_STRETCH, "sqlite_autoindex_dead_letters"),
    ] {
        let plan = plan(statement).await;
        // By both ends of the stretch, or the rest of the partition would be read, too.
        let walks = plan.iter().any(|step| {
            step.contains(index) && step.contains("record_offset>? AND record_offset<?")
        });
        assert!(walks && walks_only(&plan), "{plan:?}");
    }
}

#[tokio::test]
async fn the_dead_letters_of_an_event_are_looked_up() {
    let plan = plan(&format!(
        "SELECT d.id FROM dead_letters d WHERE {OF_EVENT} ORDER BY d.id"
    ))
    .await;
    assert!(searches(&plan, "dead_letters_of_event"), "{plan:?}");
    assert!(walks_only(&plan), "{plan:?}");
}

#[tokio::test]
async fn the_dead_letters_of_a_plugin_are_walked_from_the_newest_and_not_sorted() {
    let filter = DeadLetterFilter {
        plugin: Some(PluginId(1)),
        ..DeadLetterFilter::default()
    };
    let mut query = filter.query("SELECT d.id FROM dead_letters d");
    query.push(" AND d.id < 7 ORDER BY d.id DESC LIMIT 5");
    let plan = plan(query.sql().as_str()).await;
    assert!(searches(&plan, "dead_letters_by_plugin"), "{plan:?}");
    assert!(walks_only(&plan), "{plan:?}");
}

#[tokio::test]
async fn the_audit_of_a_plugin_is_walked_from_the_newest_and_not_sorted() {
    let plan = plan(AUDIT_OF_PLUGIN).await;
    assert!(searches(&plan, "audit_by_plugin"), "{plan:?}");
    assert!(walks_only(&plan), "{plan:?}");
}

#[tokio::test]
async fn the_answers_of_a_trial_are_compared_and_dropped_in_the_order_of_their_table() {
    let mut statements = vec![
        DIFFERENT_KEYS.to_owned(),
        RELATIONS.to_owned(),
        FORGET.to_owned(),
    ];
    statements.extend(HAVING.map(keys_of));
    for statement in statements {
        let plan = plan(&statement).await;
        assert!(searches(&plan, "PRIMARY KEY"), "{plan:?}");
        // The sum over all events is a scan of the groups, not of the table.
        let walked = plan.iter().filter(|step| !step.ends_with("events"));
        assert!(walks_only(&walked.cloned().collect::<Vec<_>>()), "{plan:?}");
    }
}

/// A share that moves the head by one event of which a plugin has decided.
fn plain(n: i64) -> Share {
    let source = Source {
        log: LogId(1),
        partition: 0,
        offset: n,
        logged_at_ms: 1_755_600_000_000,
    };
    let mut share = Share::moving(CursorMove {
        log: source.log,
        partition: source.partition,
        lane: Lane::Head,
        expected: (n > 0).then_some(n),
        next: n + 1,
        logged_at_ms: source.logged_at_ms,
        retry: None,
    });
    share.decisions = vec![Decision {
        event_key: u128::from(n.unsigned_abs()).to_be_bytes(),
        content_hash: 0,
        plugin: PluginId(1),
        version: VersionId(0),
        outcome: Outcome::Handled,
        actions: 0,
        attempts: 1,
        source,
        replaces: false,
    }];
    share
}

#[tokio::test]
async fn what_a_commit_does_not_hold_costs_it_no_statement() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), StoreConfig::default())
        .await
        .unwrap();
    // The connection keeps each statement that it was ever sent.
    let sent_so_far = async |share: Share| {
        let results = store.commit(&[share]).await;
        assert_eq!(results, [Ok(())]);
        store.writer().await.conn().cached_statements_size()
    };
    sent_so_far(plain(0)).await;
    let sent = sent_so_far(plain(1)).await;
    assert_eq!(sent_so_far(plain(2)).await, sent);

    let mut settles = plain(3);
    settles.settled = vec![DeadLetterRow(1)];
    assert_eq!(sent_so_far(settles).await, sent + 1);

    let mut replaces = plain(4);
    replaces.decisions[0].replaces = true;
    assert_eq!(sent_so_far(replaces).await, sent + 2);

    let mut answers = plain(5);
    answers.answers = vec![TrialAnswer {
        trial: TrialId(1),
        plugin: PluginId(1),
        side: Side::Active,
        event_key: [0; 16],
        event_id: String::new(),
        kind: String::new(),
        source: answers.decisions[0].source,
        outcome: "handled".to_owned(),
        detail: None,
        digest: 0,
        actions: "[]".to_owned(),
        took_us: 1,
    }];
    assert_eq!(sent_so_far(answers).await, sent + 3);
    assert_eq!(sent_so_far(plain(6)).await, sent + 3);
}
