//! Clients that break rules, and what it costs them.

use std::time::Duration;

use carillon_gateway::{CloseCode, GatewayConfig};
use carillon_store::StoreConfig;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, Closed, position};
use crate::host::Host;

async fn after_first(host: &Host, message: Message) -> Closed {
    let mut client = Client::open(host).await;
    client.send_message(message).await;
    client.closed().await
}

#[tokio::test]
async fn what_is_not_the_protocol_is_closed_with_its_code_and_a_reason() {
    let host = Host::start().await;
    let connect = json!({ "id": 1, "connect": { "token": host.token("ada", &[]) } });
    let bad_request = CloseCode::BadRequest.number();
    for (message, code, words) in [
        (Message::text("not json"), bad_request, "cannot be read"),
        (Message::text(""), bad_request, "empty message"),
        (Message::text("\n \n"), bad_request, "empty message"),
        (
            Message::text("{}"),
            bad_request,
            "first command must be connect",
        ),
        (
            Message::text(r#"{"id":1,"rpc":{"method":"inbox"}}"#),
            bad_request,
            "first command must be connect",
        ),
        (
            Message::text(r#"{"connect":{}}"#),
            bad_request,
            "id above 0",
        ),
        (
            Message::text(format!("{connect}\n{connect}")),
            bad_request,
            "connected already",
        ),
        (
            Message::binary(vec![1, 2]),
            CloseCode::InappropriateProtocol.number(),
            "text frames",
        ),
        (
            Message::text(format!("{connect}\n{{\"send\":{{}}}}")),
            CloseCode::NotAvailable.number(),
            "not available",
        ),
        (
            Message::text(r#"{"id":1,"connect":{}}"#),
            CloseCode::InvalidToken.number(),
            "none was sent",
        ),
        (
            Message::text(r#"{"id":1,"connect":{"token":"x.y.z"}}"#),
            CloseCode::InvalidToken.number(),
            "not a JSON Web Token",
        ),
    ] {
        let (got, reason) = after_first(&host, message.clone()).await;
        assert_eq!(got, code, "{message}: {reason}");
        assert!(reason.contains(words), "{message}: {reason}");
    }
    host.connections(0).await;
}

#[tokio::test]
async fn an_expired_token_is_answered_so_that_clients_get_a_new_one() {
    let config = GatewayConfig {
        connect_timeout_ms: 300,
        ..GatewayConfig::default()
    };
    let host = Host::with(config, StoreConfig::default()).await;
    let expired = crate::http::expired_token(&host);
    let mut client = Client::open(&host).await;
    let reply = client
        .call(json!({ "connect": { "token": expired } }))
        .await;
    assert_eq!(
        reply["error"],
        json!({ "code": 109, "message": "token expired" })
    );
    // The client is expected to go; one that stays is closed.
    assert_eq!(client.closed().await.0, CloseCode::Stale.number());
}

#[tokio::test]
async fn a_message_above_the_limit_is_closed_as_too_big() {
    let host = Host::start().await;
    let limit = GatewayConfig::default().max_message_bytes;
    for bytes in [limit + 1, limit * 10] {
        let (code, reason) = after_first(&host, Message::text("x".repeat(bytes))).await;
        assert_eq!(code, 1009, "{reason}");
        assert!(reason.contains("message too big"), "{reason}");
    }
}

#[tokio::test]
async fn a_client_that_never_connects_is_closed() {
    let config = GatewayConfig {
        connect_timeout_ms: 50,
        ..GatewayConfig::default()
    };
    let host = Host::with(config, StoreConfig::default()).await;
    assert_eq!(
        Client::open(&host).await.closed().await.0,
        CloseCode::Stale.number()
    );
}

#[tokio::test]
async fn a_client_that_does_not_answer_pings_is_closed_and_one_that_does_stays() {
    let config = GatewayConfig {
        ping_interval_ms: 100,
        pong_timeout_ms: 80,
        ..GatewayConfig::default()
    };
    let host = Host::with(config, StoreConfig::default()).await;
    let (mut deaf, connected) = Client::connect(&host, &host.token("ada", &[])).await;
    assert_eq!(connected["ping"], 1);
    deaf.answers_pings = false;
    let (mut lively, _) = Client::connect(&host, &host.token("ada", &[])).await;
    let lively = tokio::spawn(async move { (lively.push().await, lively) });
    assert_eq!(deaf.closed().await.0, CloseCode::NoPong.number());
    host.notify("user:ada", 1).await;
    let (push, _) = lively.await.unwrap();
    assert_eq!(push.unwrap().1, 1);
}

#[tokio::test]
async fn a_token_with_too_many_groups_is_refused() {
    let config = GatewayConfig {
        max_streams: 2,
        ..GatewayConfig::default()
    };
    let host = Host::with(config, StoreConfig::default()).await;
    let connect = json!({ "id": 1, "connect": { "token": host.token("ada", &["a", "b"]) } });
    assert_eq!(
        after_first(&host, Message::text(connect.to_string()))
            .await
            .0,
        CloseCode::ChannelLimit.number()
    );
}

#[tokio::test]
async fn a_connection_above_the_limit_is_refused_before_the_upgrade() {
    let config = GatewayConfig {
        max_connections: 1,
        ..GatewayConfig::default()
    };
    let host = Host::with(config, StoreConfig::default()).await;
    let _first = Client::open(&host).await;
    host.connections(1).await;
    let url = host.url(&format!("/connection/sse?token={}", host.token("ada", &[])));
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(
        response
            .text()
            .await
            .unwrap()
            .contains("too-many-connections")
    );
}

#[tokio::test]
async fn a_slow_client_is_closed_and_recovers_while_others_get_everything() {
    const COUNT: usize = 400;
    let config = GatewayConfig {
        queue_bytes: 256 * 1024,
        max_recovery_bytes: 64 * 1024 * 1024,
        close_timeout_ms: 20_000,
        ..GatewayConfig::default()
    };
    let host = Host::with(config, StoreConfig::default()).await;
    let token = host.token("ada", &[]);
    let mut slow = Client::open_with(&host, Some(4096)).await;
    let connected = slow.call(json!({ "connect": { "token": token } })).await["connect"].clone();
    let (mut quick, _) = Client::connect(&host, &token).await;
    let reader = tokio::spawn(async move { quick.offsets("user:ada", COUNT).await });
    let body = "x".repeat(40_000);
    for _ in 0..COUNT {
        host.notify_with("user:ada", 1, &body, None).await;
    }
    assert_eq!(
        reader.await.unwrap(),
        (1..=COUNT as u64).collect::<Vec<_>>()
    );
    // Only now the slow one reads. It gets what was written, then learns why there is no more.
    let mut last = 0;
    let (code, reason) = loop {
        match slow.push().await {
            Ok((_, offset, _)) => {
                assert_eq!(offset, last + 1);
                last = offset;
            }
            Err(closed) => break closed,
        }
    };
    assert_eq!(code, CloseCode::Slow.number(), "{reason}");
    assert!(last < COUNT as u64);
    let mut subs: Value = position(&connected, "user:ada");
    subs["user:ada"]["offset"] = last.into();
    let (mut again, recovered) = Client::reconnect(&host, &token, subs).await;
    let sub = &recovered["subs"]["user:ada"];
    assert_eq!(sub["recovered"], true);
    let inline = sub["publications"].as_array().map_or(0, Vec::len) as u64;
    let rest = usize::try_from(COUNT as u64 - last - inline).unwrap();
    assert_eq!(
        again.offsets("user:ada", rest).await,
        (last + inline + 1..=COUNT as u64).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_client_that_floods_commands_and_reads_no_answer_is_not_read_from() {
    let host = Host::start().await;
    host.notify("user:ada", 200).await;
    let mut client = Client::open_with(&host, Some(4096)).await;
    client
        .call(json!({ "connect": { "token": host.token("ada", &[]) } }))
        .await;
    let history = json!({ "id": 9, "history": { "channel": "user:ada", "limit": 200 }, "padding": "x".repeat(20_000) });
    // What a server and two kernels may hold is far below what this would send.
    let mut sent = 0;
    while client.can_send(&history, Duration::from_secs(1)).await {
        sent += 1;
        assert!(
            sent < 5_000,
            "the server reads on although its answers are not taken"
        );
    }
    // Others are not disturbed.
    let (mut other, _) = Client::connect(&host, &host.token("ada", &[])).await;
    host.notify("user:ada", 1).await;
    assert_eq!(other.offsets("user:ada", 1).await, [201]);
}
