//! What a client that comes back is given and told.

use carillon_gateway::GatewayConfig;
use carillon_store::StoreConfig;
use serde_json::{Value, json};

use crate::client::{Client, position};
use crate::host::Host;

fn asks(epoch: &str, offset: u64) -> Value {
    json!({ "user:ada": { "recover": true, "epoch": epoch, "offset": offset } })
}

fn offsets(sub: &Value) -> Vec<u64> {
    let publications = sub["publications"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    publications
        .iter()
        .map(|publication| publication["offset"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_client_that_was_cut_off_has_everything_once_and_in_order() {
    let host = Host::start().await;
    let token = host.token("ada", &["staff"]);
    let (mut ada, connected) = Client::connect(&host, &token).await;
    host.notify("user:ada", 3).await;
    assert_eq!(ada.offsets("user:ada", 3).await, [1, 2, 3]);
    drop(ada);
    host.connections(0).await;
    for _ in 0..100 {
        host.notify("user:ada", 1).await;
    }
    host.notify("group:staff", 2).await;
    let mut subs = position(&connected, "group:staff");
    subs["user:ada"] = json!({ "recover": true, "epoch": *host.store.epoch(), "offset": 3 });
    let (mut ada, connected) = Client::reconnect(&host, &token, subs).await;
    let (own, group) = (
        &connected["subs"]["user:ada"],
        &connected["subs"]["group:staff"],
    );
    assert_eq!(
        (&own["recovered"], &own["was_recovering"], &own["offset"]),
        (&json!(true), &json!(true), &json!(3))
    );
    assert_eq!(group["recovered"], true);
    // What does not fit into the reply follows it: the client cannot tell the difference.
    let mut got = offsets(own);
    let mut group_got = offsets(group);
    assert!(!got.is_empty());
    host.notify("user:ada", 1).await;
    while got.len() < 101 || group_got.len() < 2 {
        let (channel, offset, _) = ada.push().await.unwrap();
        if channel == "user:ada" {
            got.push(offset)
        } else {
            group_got.push(offset)
        }
    }
    assert_eq!(got, (4..=104).collect::<Vec<_>>());
    assert_eq!(group_got, [1, 2]);
}

#[tokio::test]
async fn what_cannot_be_recovered_is_said_and_the_client_goes_on_from_the_head() {
    let config = GatewayConfig {
        max_recovery: 20,
        max_recovery_bytes: 20_000,
        ..GatewayConfig::default()
    };
    let store = StoreConfig {
        history_per_stream: 30,
        ..StoreConfig::default()
    };
    let host = Host::with(config, store).await;
    let token = host.token("ada", &[]);
    host.notify("user:ada", 50).await;
    host.store.trim_streams().await.unwrap();
    assert_eq!(
        host.store
            .stream_head("user:ada")
            .await
            .unwrap()
            .trimmed_through,
        20
    );
    let epoch = host.store.epoch();
    for (subs, recovered, why) in [
        (asks(&epoch, 50), true, "nothing missed"),
        (asks(&epoch, 40), true, "ten missed"),
        (asks(&epoch, 30), true, "as many as the limit"),
        (asks(&epoch, 29), false, "one more than the limit"),
        (asks(&epoch, 19), false, "one of them trimmed"),
        (asks(&epoch, 51), false, "ahead of the head"),
        (asks("another", 45), false, "another epoch"),
        (asks("", 45), false, "no epoch"),
    ] {
        let missed = 50_u64.saturating_sub(subs["user:ada"]["offset"].as_u64().unwrap());
        let (_client, connected) = Client::reconnect(&host, &token, subs).await;
        let sub = &connected["subs"]["user:ada"];
        assert_eq!(sub["recovered"], recovered, "{why}");
        assert_eq!(sub["was_recovering"], true, "{why}");
        assert_eq!(*sub["epoch"].as_str().unwrap(), *epoch);
        if recovered {
            assert_eq!(
                offsets(sub),
                (50 - missed + 1..=50).collect::<Vec<_>>(),
                "{why}"
            );
        } else {
            assert_eq!(
                (offsets(sub).len(), &sub["offset"]),
                (0, &json!(50)),
                "{why}"
            );
        }
    }
    host.notify_with("user:ada", 1, &"x".repeat(25_000), None)
        .await;
    let (mut ada, connected) = Client::reconnect(&host, &token, asks(&epoch, 50)).await;
    assert_eq!(
        connected["subs"]["user:ada"]["recovered"], false,
        "more bytes than the limit"
    );
    host.notify("user:ada", 1).await;
    assert_eq!(ada.offsets("user:ada", 1).await, [52]);
}

#[tokio::test]
async fn trimming_exactly_up_to_the_position_loses_nothing() {
    let store = StoreConfig {
        history_per_stream: 10,
        ..StoreConfig::default()
    };
    let host = Host::with(GatewayConfig::default(), store).await;
    host.notify("user:ada", 30).await;
    host.store.trim_streams().await.unwrap();
    let (_ada, connected) = Client::reconnect(
        &host,
        &host.token("ada", &[]),
        asks(&host.store.epoch(), 20),
    )
    .await;
    let sub = &connected["subs"]["user:ada"];
    assert_eq!(
        (&sub["recovered"], offsets(sub)),
        (&json!(true), (21..=30).collect())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_come_and_go_while_entries_are_committed_see_each_once() {
    const COUNT: u64 = 400;
    let host = Host::start().await;
    let publishing = async {
        for _ in 0..COUNT {
            host.notify("user:ada", 1).await;
        }
    };
    let coming_and_going = async |turn: usize| {
        let token = host.token("ada", &[]);
        let mut seen = 0;
        let mut connects = 0;
        while seen < COUNT {
            let (mut ada, connected) =
                Client::reconnect(&host, &token, asks(&host.store.epoch(), seen)).await;
            connects += 1;
            let sub = &connected["subs"]["user:ada"];
            assert_eq!(sub["recovered"], true);
            for offset in offsets(sub) {
                assert_eq!(offset, seen + 1);
                seen = offset;
            }
            for _ in 0..=turn {
                if seen == COUNT {
                    break;
                }
                let (_, offset, _) = ada.push().await.unwrap();
                assert_eq!(offset, seen + 1);
                seen = offset;
            }
        }
        connects
    };
    let (first, second, third, ()) = tokio::join!(
        coming_and_going(0),
        coming_and_going(3),
        coming_and_going(10),
        publishing
    );
    assert!(
        first > 1 && second > 1 && third > 1,
        "{first} {second} {third}"
    );
}
