//! What operators did.

use carillon_store::{NewAudit, StoreConfig};
use serde_json::json;

use crate::world::World;

fn record(at_ms: i64, plugin: Option<&str>) -> NewAudit {
    NewAudit {
        at_ms,
        who: "alice".to_owned(),
        from: Some("127.0.0.1:5000".to_owned()),
        action: "plugin.load".to_owned(),
        plugin: plugin.map(str::to_owned),
        detail: json!({ "version": "1.0.0", "n": [1, null] }),
        outcome: "done".to_owned(),
    }
}

#[tokio::test]
async fn a_record_is_found_again_whole_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::at(folder.path(), StoreConfig::default()).await;
    world.store.audit(&record(5, Some("one"))).await.unwrap();
    drop(world);
    let world = World::at(folder.path(), StoreConfig::default()).await;
    let records = world.store.audit_records(None, None, 10).await.unwrap();
    assert_eq!(
        serde_json::to_value(&records).unwrap(),
        json!([{
            "id": records[0].id, "atMs": 5, "who": "alice", "from": "127.0.0.1:5000",
            "action": "plugin.load", "plugin": "one",
            "detail": { "version": "1.0.0", "n": [1, null] }, "outcome": "done",
        }])
    );
}

#[tokio::test]
async fn records_come_newest_first_in_pages_and_by_plugin() {
    let world = World::new().await;
    for (at_ms, plugin) in (1..).zip([Some("one"), None, Some("two"), Some("one"), Some("one")]) {
        world.store.audit(&record(at_ms, plugin)).await.unwrap();
    }
    let times = async |plugin, before, limit| {
        let records = world
            .store
            .audit_records(plugin, before, limit)
            .await
            .unwrap();
        let times: Vec<i64> = records.iter().map(|record| record.at_ms).collect();
        (times, records.last().map(|record| record.id))
    };
    let (first, before) = times(None, None, 2).await;
    assert_eq!(first, [5, 4]);
    let (second, before) = times(None, before, 2).await;
    assert_eq!(second, [3, 2]);
    assert_eq!(times(None, before, 2).await.0, [1]);

    let (first, before) = times(Some("one"), None, 2).await;
    assert_eq!(first, [5, 4]);
    assert_eq!(times(Some("one"), before, 2).await.0, [1]);
    assert!(times(Some("nobody"), None, 2).await.0.is_empty());
}
