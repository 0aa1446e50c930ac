//! Connecting, pushes, commands.

use std::time::Duration;

use carillon_gateway::{CloseCode, GatewayConfig};
use carillon_store::StoreConfig;
use serde_json::json;

use crate::client::Client;
use crate::host::Host;

#[tokio::test]
async fn a_connected_client_gets_what_its_user_and_groups_get() {
    let host = Host::start().await;
    let (mut ada, connected) = Client::connect(&host, &host.token("ada", &["staff"])).await;
    assert_eq!(connected["ping"], 25);
    assert_eq!(connected["pong"], true);
    assert_eq!(connected["expires"], true);
    assert!(connected["ttl"].as_u64().unwrap() > 590, "{connected}");
    let subs = connected["subs"].as_object().unwrap();
    assert_eq!(subs.keys().collect::<Vec<_>>(), ["group:staff", "user:ada"]);
    for sub in subs.values() {
        assert_eq!(sub["recoverable"], true);
        assert_eq!(sub["positioned"], true);
        assert_eq!(sub["recovered"], false);
        assert_eq!(sub["was_recovering"], false);
        assert_eq!(sub["offset"], 0);
        assert_eq!(*sub["epoch"].as_str().unwrap(), *host.store.epoch());
    }
    host.notify("user:bob", 1).await;
    host.notify_keyed("user:ada", "booking-1").await;
    host.notify("group:staff", 1).await;
    host.withdraw("user:ada", "booking-1").await;
    let (channel, offset, data) = ada.push().await.unwrap();
    assert_eq!((channel.as_str(), offset), ("user:ada", 1));
    assert_eq!(data["type"], "notification");
    assert_eq!(data["title"], "Confirmed");
    assert_eq!(data["eventId"], "event-1");
    assert_eq!(ada.push().await.unwrap().0, "group:staff");
    let (_, offset, data) = ada.push().await.unwrap();
    assert_eq!(
        (offset, &data["type"], &data["collapseKey"]),
        (2, &json!("withdrawal"), &json!("booking-1"))
    );
}

#[tokio::test]
async fn line_breaks_in_a_plugins_data_do_not_break_the_protocol() {
    let host = Host::start().await;
    let (mut ada, connected) = Client::connect(&host, &host.token("ada", &[])).await;
    host.notify_with(
        "user:ada",
        1,
        "two\nlines",
        Some("{\n  \"room\": \"room-1\"\r\n}"),
    )
    .await;
    let (_, _, data) = ada.push().await.unwrap();
    assert_eq!(
        (&data["body"], &data["data"]["room"]),
        (&json!("two\nlines"), &json!("room-1"))
    );
    let subs = crate::client::position(&connected, "user:ada");
    let (mut again, recovered) = Client::reconnect(&host, &host.token("ada", &[]), subs).await;
    assert_eq!(
        recovered["subs"]["user:ada"]["publications"][0]["data"]["data"]["room"],
        "room-1"
    );
    let inbox = again
        .call(json!({ "rpc": { "method": "inbox", "data": { "limit": 5 } } }))
        .await;
    assert_eq!(inbox["rpc"]["data"]["items"][0]["data"]["room"], "room-1");
}

#[tokio::test]
async fn commands_are_answered_with_results_or_the_protocols_errors() {
    let host = Host::start().await;
    host.notify("user:ada", 5).await;
    let (mut ada, _) = Client::connect(&host, &host.token("ada", &[])).await;
    let history = ada
        .call(json!({ "history": { "channel": "user:ada", "limit": 2, "since": { "offset": 1 } } }))
        .await;
    let offsets = |reply: &serde_json::Value| -> Vec<u64> {
        reply["publications"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["offset"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(offsets(&history["history"]), [2, 3]);
    assert_eq!(history["history"]["offset"], 5);
    let history = ada
        .call(json!({ "history": { "channel": "user:ada", "limit": 2, "reverse": true } }))
        .await;
    assert_eq!(offsets(&history["history"]), [5, 4]);
    let history = ada.call(json!({ "history": { "channel": "user:ada", "limit": 3, "reverse": true, "since": { "offset": 3 } } })).await;
    assert_eq!(offsets(&history["history"]), [2, 1]);
    let head = ada
        .call(json!({ "history": { "channel": "user:ada" } }))
        .await;
    assert_eq!(
        (offsets(&head["history"]).len(), &head["history"]["offset"]),
        (0, &json!(5))
    );
    let rpc = ada
        .call(
            json!({ "rpc": { "method": "history", "data": { "stream": "user:ada", "after": 3 } } }),
        )
        .await;
    assert_eq!(offsets(&rpc["rpc"]["data"]), [4, 5]);
    let inbox = ada
        .call(json!({ "rpc": { "method": "inbox", "data": { "limit": 2 } } }))
        .await;
    assert_eq!(inbox["rpc"]["data"]["items"].as_array().unwrap().len(), 2);
    let before = &inbox["rpc"]["data"]["next"];
    let rest = ada
        .call(json!({ "rpc": { "method": "inbox", "data": { "before": before } } }))
        .await;
    assert_eq!(rest["rpc"]["data"]["items"].as_array().unwrap().len(), 3);
    assert_eq!(ada.call(json!({ "ping": {} })).await["ping"], json!({}));
    assert_eq!(
        ada.call(json!({ "unsubscribe": { "channel": "x" } })).await["unsubscribe"],
        json!({})
    );
    for (command, code) in [
        (json!({ "rpc": { "method": "dance" } }), 104),
        (json!({ "dance": {} }), 104),
        (
            json!({ "rpc": { "method": "inbox", "data": { "limt": 2 } } }),
            107,
        ),
        (
            json!({ "history": { "channel": "user:bob", "limit": 1 } }),
            103,
        ),
        (
            json!({ "history": { "channel": "user:ada", "limit": 1, "since": { "offset": 1, "epoch": "other" } } }),
            112,
        ),
        (json!({ "subscribe": { "channel": "user:ada" } }), 105),
        (json!({ "subscribe": { "channel": "user:bob" } }), 103),
        (json!({ "unsubscribe": { "channel": "user:ada" } }), 103),
        (
            json!({ "publish": { "channel": "user:ada", "data": {} } }),
            103,
        ),
        (json!({ "presence": { "channel": "user:ada" } }), 108),
        (json!({ "presence_stats": { "channel": "user:ada" } }), 108),
        (
            json!({ "sub_refresh": { "channel": "user:ada", "token": "t" } }),
            108,
        ),
    ] {
        let reply = ada.call(command.clone()).await;
        assert_eq!(reply["error"]["code"], code, "{command} {reply}");
    }
    // The connection has survived all of it.
    host.notify("user:ada", 1).await;
    assert_eq!(ada.offsets("user:ada", 1).await, [6]);
}

#[tokio::test]
async fn several_commands_in_one_frame_are_each_answered() {
    let host = Host::start().await;
    let mut ada = Client::open(&host).await;
    let connect = json!({ "id": 1, "connect": { "token": host.token("ada", &[]) } });
    let frame = format!("{connect}\n{}\n", json!({ "id": 2, "ping": {} }));
    ada.send_message(tokio_tungstenite::tungstenite::Message::text(frame))
        .await;
    let replies = [ada.reply().await, ada.reply().await];
    assert!(replies[0]["connect"]["client"].is_string(), "{replies:?}");
    assert_eq!(replies[1], json!({ "id": 2, "ping": {} }));
}

#[tokio::test]
async fn a_refreshed_token_keeps_the_connection_and_an_expired_one_ends_it() {
    let config = GatewayConfig {
        expired_close_delay_ms: 0,
        ..GatewayConfig::default()
    };
    let host = Host::with(config, StoreConfig::default()).await;
    let short = host.token_for("ada", &["staff"], Duration::from_secs(2));
    let (mut stays, connected) = Client::connect(&host, &short).await;
    assert!(connected["ttl"].as_u64().unwrap() <= 2, "{connected}");
    let (mut ends, _) = Client::connect(&host, &short).await;
    let reply = stays
        .call(json!({ "refresh": { "token": host.token("ada", &["staff"]) } }))
        .await;
    assert_eq!(reply["refresh"]["client"], connected["client"]);
    assert!(reply["refresh"]["ttl"].as_u64().unwrap() > 590, "{reply}");
    assert_eq!(ends.closed().await.0, CloseCode::Expired.number());
    host.notify("user:ada", 1).await;
    assert_eq!(stays.offsets("user:ada", 1).await, [1]);
}

#[tokio::test]
async fn a_refresh_with_another_user_or_other_groups_closes() {
    let host = Host::start().await;
    for (token, code) in [
        (host.token("bob", &[]), CloseCode::InvalidToken),
        (host.token("ada", &["staff"]), CloseCode::ForceReconnect),
        ("nonsense".to_owned(), CloseCode::InvalidToken),
    ] {
        let (mut ada, _) = Client::connect(&host, &host.token("ada", &[])).await;
        ada.send(&json!({ "id": 2, "refresh": { "token": token } }))
            .await;
        assert_eq!(ada.closed().await.0, code.number());
    }
}

#[tokio::test]
async fn a_shutdown_tells_every_client_to_connect_again() {
    let host = Host::start().await;
    let (mut ada, _) = Client::connect(&host, &host.token("ada", &[])).await;
    let mut silent = Client::open(&host).await;
    host.connections(2).await;
    let clients = async { (ada.closed().await, silent.closed().await) };
    let (ends, ()) = tokio::join!(clients, host.stop());
    assert_eq!(ends.0.0, CloseCode::Shutdown.number());
    assert_eq!(ends.1.0, CloseCode::Shutdown.number());
    assert!(!ends.0.1.is_empty());
}
