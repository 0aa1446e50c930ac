//! Plugins come in, change and go.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use reqwest::{Body, Method};
use serde_json::{Value, json};

use crate::host::MAX_BINARY_BYTES;
use crate::operator::{EVENTS_MS, Operator, answer, binary};

fn kind(problem: &Value) -> &str {
    let kind = problem["type"].as_str().unwrap();
    kind.strip_prefix("urn:carillon:problem:").unwrap_or(kind)
}

fn versions(loads: &Value) -> Vec<&str> {
    let items = loads["items"].as_array().unwrap();
    items
        .iter()
        .map(|load| load["version"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_plugin_is_loaded_swapped_rolled_back_paused_and_removed() {
    let operator = Operator::start().await;
    let (status, first) = operator.put("greeter", "greeter-v1").await;
    assert_eq!((status, &first["isNew"]), (201, &json!(true)), "{first}");
    let (status, second) = operator.put("_", "greeter-v2").await;
    assert_eq!((status, &second["replaced"]), (200, &json!("1.0.0")));
    assert_eq!(second["runsAs"], "active");

    let (_, list) = operator.get("plugins").await;
    assert_eq!(list["items"][0]["name"], "greeter");
    assert_eq!(list["items"][0]["version"], "2.0.0");
    assert_eq!(list["next"], Value::Null);
    let (_, details) = operator.get("plugins/greeter").await;
    assert_eq!(details["loadedBy"], "ada");
    assert_eq!(details["origin"], "PUT from 127.0.0.1");

    // Without a body, to the newest load that differs; with one, to what it names.
    let rollback = operator.request(Method::POST, "plugins/greeter/rollback");
    let (status, back) = answer(rollback).await;
    assert_eq!((status, &back["version"]), (200, &json!("1.0.0")), "{back}");
    for to in [second["load"].clone(), json!("2.0.0")] {
        let (status, back) = operator
            .post("plugins/greeter/rollback", &json!({ "to": to }))
            .await;
        assert_eq!((status, &back["version"]), (200, &json!("2.0.0")), "{back}");
    }
    let (_, loads) = operator.get("plugins/greeter/versions").await;
    assert_eq!(
        versions(&loads),
        ["2.0.0", "2.0.0", "1.0.0", "2.0.0", "1.0.0"]
    );

    let (_, paused) = operator.post("plugins/greeter/pause", &json!({})).await;
    assert_eq!(paused["state"], "paused");
    let (_, resumed) = operator.post("plugins/greeter/resume", &json!({})).await;
    assert_eq!(resumed["state"], "active");

    let (status, removed) = operator.delete("plugins/greeter?state=delete").await;
    assert_eq!(
        (status, removed),
        (200, json!({ "plugin": "greeter", "state": "delete" }))
    );
    assert_eq!(operator.get("plugins").await.1["items"], json!([]));

    let (_, audit) = operator.get("audit?plugin=greeter").await;
    let actions: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| {
            assert_eq!(
                (&record["who"], &record["from"]),
                (&json!("ada"), &json!("127.0.0.1"))
            );
            record["action"].as_str().unwrap()
        })
        .collect();
    assert_eq!(
        actions,
        [
            "remove", "resume", "pause", "rollback", "rollback", "rollback", "load", "load"
        ]
    );
    let (_, page) = operator.get("audit?limit=3").await;
    let next = page["next"].as_str().expect("there is more");
    let (_, rest) = operator.get(&format!("audit?before={next}")).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 5);
    operator.host.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_a_status_and_a_code() {
    let operator = Operator::start().await;
    operator.load("greeter-v1").await;
    for (path, guest, expected) in [
        ("other", "greeter-v1", (422, "refused")),
        ("_", "wrong-world", (422, "refused")),
        ("_", "newer-interface", (422, "refused")),
        ("_?start=noon", "greeter-v1", (400, "invalid")),
        ("_?as=canary", "greeter-v1", (400, "invalid")),
        ("_?strat=latest", "greeter-v1", (400, "invalid-query")),
        ("new?as=shadow", "echo", (422, "refused")),
    ] {
        let (status, problem) = operator.put(path, guest).await;
        assert_eq!((status, kind(&problem)), expected, "{path}: {problem}");
    }
    for (path, body, expected) in [
        ("plugins/nothing/pause", json!({}), (404, "not-found")),
        ("plugins/greeter/promote", json!({}), (409, "conflict")),
        (
            "plugins/greeter/rollback",
            json!({ "to": "9.9.9" }),
            (404, "not-found"),
        ),
        (
            "plugins/greeter/rollback",
            json!({ "too": 1 }),
            (400, "invalid-body"),
        ),
        (
            "plugins/greeter/replay",
            json!({ "from": 9, "to": 3 }),
            (400, "invalid"),
        ),
        (
            "plugins/greeter/replay",
            json!({ "from": "noon" }),
            (400, "invalid-body"),
        ),
        (
            "dead-letters/replay",
            json!({ "ids": [] }),
            (400, "invalid"),
        ),
    ] {
        let (status, problem) = operator.post(path, &body).await;
        assert_eq!(
            (status, kind(&problem)),
            expected,
            "{path} {body}: {problem}"
        );
    }
    for path in [
        "plugins/nothing",
        "replays/77",
        "dead-letters/77",
        "explain/nothing",
    ] {
        let (status, problem) = operator.get(path).await;
        assert_eq!((status, kind(&problem)), (404, "not-found"), "{path}");
    }
    // What runs keeps running.
    let (_, details) = operator.get("plugins/greeter").await;
    assert_eq!(
        (&details["version"], &details["state"]),
        (&json!("1.0.0"), &json!("active"))
    );
    operator.host.stop().await;
}

#[tokio::test]
async fn a_binary_above_the_bound_is_refused_with_the_bound() {
    let operator = Operator::start().await;
    let put = || operator.request(Method::PUT, "plugins/_");
    let check = |(status, problem): (u16, Value)| {
        assert_eq!((status, kind(&problem)), (413, "too-large"));
        assert_eq!(problem["limitBytes"], MAX_BINARY_BYTES);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&MAX_BINARY_BYTES.to_string()), "{detail}");
    };
    for bytes in [MAX_BINARY_BYTES + 1, MAX_BINARY_BYTES * 2] {
        check(answer(put().body(vec![0; bytes])).await);
    }
    // Nor does it help not to say how much will come.
    let chunks = (0..20).map(|_| Ok::<_, std::io::Error>(vec![0_u8; MAX_BINARY_BYTES / 10]));
    check(answer(put().body(Body::wrap_stream(stream::iter(chunks)))).await);
    // One that just fits is looked at.
    let (status, problem) = answer(put().body(vec![0; MAX_BINARY_BYTES])).await;
    assert_eq!((status, kind(&problem)), (422, "refused"), "{problem}");
    operator.host.stop().await;
}

#[tokio::test]
async fn what_comes_with_a_binary_is_checked_and_written_down() {
    let operator = Operator::start().await;
    let put = || {
        operator
            .request(Method::PUT, "plugins/greeter")
            .body(binary("greeter-v1"))
    };
    for nonsense in ["nonsense", &STANDARD.encode([7; 63])] {
        let request = put().header("x-carillon-signature", nonsense);
        let (status, problem) = answer(request).await;
        assert_eq!((status, kind(&problem)), (400, "invalid"), "{problem}");
    }
    let (status, problem) = answer(put().header("x-carillon-origin", "x".repeat(2_000))).await;
    assert_eq!((status, kind(&problem)), (400, "invalid"), "{problem}");
    let request = put()
        .header("x-carillon-signature", STANDARD.encode([7; 64]))
        .header("x-carillon-origin", "größe.wasm".as_bytes());
    let (status, outcome) = answer(request).await;
    assert_eq!(status, 201, "{outcome}");
    let (_, loads) = operator.get("plugins/greeter/versions").await;
    assert_eq!(loads["items"][0]["origin"], "größe.wasm");
    assert_eq!(loads["items"][0]["who"], "ada");
    operator.host.stop().await;
}

#[tokio::test]
async fn settings_are_set_and_taken_back() {
    let operator = Operator::start().await;
    operator.load("echo").await;
    let patch = async |changes: Value| {
        let request = operator.request(Method::PATCH, "plugins/echo/settings");
        answer(request.json(&changes)).await
    };
    let (status, problem) = patch(json!({ "unknown": "1" })).await;
    assert_eq!((status, kind(&problem)), (422, "refused"), "{problem}");
    let (status, problem) = patch(json!({ "unknown": 1 })).await;
    assert_eq!((status, kind(&problem)), (400, "invalid-body"), "{problem}");
    let (status, outcome) = patch(json!({})).await;
    assert_eq!(
        (status, &outcome["isNew"]),
        (200, &json!(false)),
        "{outcome}"
    );
    operator.host.stop().await;
}

#[tokio::test]
async fn a_shadow_is_compared_and_a_stretch_is_replayed() {
    let operator = Operator::start().await;
    operator.load("greeter-v1").await;
    let shadow = operator
        .put("greeter?as=shadow&abort_after=3", "greeter-v2")
        .await;
    assert_eq!(
        (shadow.0, &shadow.1["runsAs"]),
        (200, &json!("shadow")),
        "{}",
        shadow.1
    );
    for number in 0..5 {
        operator.send(&format!("e{number}"), "bob").await;
    }
    let report = operator
        .eventually("plugins/greeter/diff", |report| report["compared"] == 5)
        .await;
    assert_eq!(
        (&report["equal"], &report["different"]),
        (&json!(5), &json!(0))
    );
    let (status, promoted) = operator.post("plugins/greeter/promote", &json!({})).await;
    assert_eq!(
        (status, &promoted["version"]),
        (200, &json!("2.0.0")),
        "{promoted}"
    );

    let wanted = json!({ "from": EVENTS_MS, "to": "2025-08-19T12:00:00Z", "dryRun": true });
    let request = operator.request(Method::POST, "plugins/greeter/replay");
    let begun = request.json(&wanted).send().await.unwrap();
    assert_eq!(begun.status(), 202);
    let location = begun.headers()["location"].to_str().unwrap().to_owned();
    let id = begun.json::<Value>().await.unwrap()["id"].clone();
    assert_eq!(location, format!("/admin/replays/{id}"));
    let path = format!("replays/{id}");
    let done = operator
        .eventually(&path, |status| status["state"] != "running")
        .await;
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(
        (&done["handled"], &done["same"]),
        (&json!(5), &json!(5)),
        "{done}"
    );
    assert_eq!(done["dryRun"], true);

    let (_, lanes) = operator.get("lanes").await;
    let of_greeter = |lane: &&Value| lane["plugin"] == "greeter";
    let passed: u64 = lanes["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(of_greeter)
        .map(|lane| lane["cursor"].as_u64().unwrap())
        .sum();
    assert_eq!(passed, 5, "{lanes}");
    operator.host.stop().await;
}
