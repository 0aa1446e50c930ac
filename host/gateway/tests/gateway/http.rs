//! The inbox, the page, and what operators ask.

use carillon_gateway::GatewayConfig;
use carillon_store::StoreConfig;
use serde_json::{Value, json};

use crate::client::Client;
use crate::host::Host;

/// A token that ended in 2001, signed with the secret of the tests.
pub(crate) fn expired_token(host: &Host) -> String {
    host.signed(&json!({ "sub": "ada", "exp": 1_000_000_000 }))
}

async fn get(host: &Host, path: &str, token: Option<&str>) -> (u16, Value) {
    let mut request = reqwest::Client::new().get(host.url(path));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn the_inbox_is_paged_newest_first_over_the_user_and_the_groups() {
    let host = Host::start().await;
    host.notify("user:ada", 3).await;
    host.notify("group:staff", 2).await;
    host.notify("user:bob", 1).await;
    let token = host.token("ada", &["staff"]);
    let mut seen = Vec::new();
    let mut path = "/inbox?limit=2".to_owned();
    loop {
        let (status, page) = get(&host, &path, Some(&token)).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| format!("{} {}", item["stream"].as_str().unwrap(), item["offset"])),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/inbox?limit=2&before={next}");
    }
    // Newest is what became visible last.
    let newest_first = [
        "group:staff 2",
        "group:staff 1",
        "user:ada 3",
        "user:ada 2",
        "user:ada 1",
    ];
    assert_eq!(seen, newest_first);
}

#[tokio::test]
async fn the_inbox_refuses_in_problem_documents() {
    let host = Host::start().await;
    let token = host.token("ada", &[]);
    assert_eq!(get(&host, "/inbox", None).await.0, 401);
    let (status, problem) = get(&host, "/inbox", Some(&expired_token(&host))).await;
    assert_eq!(status, 401);
    assert!(
        problem["detail"].as_str().unwrap().contains("expired"),
        "{problem}"
    );
    for path in ["/inbox?limit=0", "/inbox?before=nonsense"] {
        let (status, problem) = get(&host, path, Some(&token)).await;
        assert_eq!((status, &problem["status"]), (400, &json!(400)), "{path}");
    }
    assert_eq!(get(&host, "/nothing", None).await.1["status"], 404);
    assert_eq!(
        get(&host, "/connection/websocket", None).await.1["status"],
        400
    );
}

#[tokio::test]
async fn the_page_gives_out_tokens_only_in_a_demonstration() {
    let post = async |host: &Host, user: &str| {
        let request = reqwest::Client::new()
            .post(host.url("/demo/token"))
            .json(&json!({ "user": user }));
        let response = request.send().await.unwrap();
        (
            response.status().as_u16(),
            response.json::<Value>().await.unwrap(),
        )
    };
    let host = Host::start().await;
    assert_eq!(post(&host, "user-1").await.0, 404);
    assert_eq!(get(&host, "/demo/config", None).await.1["users"], json!([]));
    let host = Host::with(
        GatewayConfig {
            demo: true,
            ..GatewayConfig::default()
        },
        StoreConfig::default(),
    )
    .await;
    assert_eq!(
        get(&host, "/demo/config", None).await.1["users"][6],
        "user-7"
    );
    assert_eq!(post(&host, "root").await.0, 403);
    let (status, answer) = post(&host, "user-1").await;
    assert_eq!(status, 200);
    Client::connect(&host, answer["token"].as_str().unwrap()).await;
    let page = reqwest::get(host.url("/")).await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(
        page.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .starts_with("default-src 'self'; ")
    );
    let loaded = page.text().await.unwrap();
    let mut paths: Vec<String> = files_named_in(&loaded).collect();
    let mut seen = 0;
    while let Some(path) = paths.get(seen).cloned() {
        seen += 1;
        let response = reqwest::get(host.url(&path)).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let expected = match path.ends_with(".css") {
            true => "text/css; charset=utf-8",
            false => "text/javascript; charset=utf-8",
        };
        assert_eq!(response.headers()["content-type"], expected, "{path}");
        for named in files_named_in(&response.text().await.unwrap()) {
            if !paths.contains(&named) {
                paths.push(named);
            }
        }
    }
    assert!(seen > 5, "{paths:?}");
    assert_eq!(get(&host, "/page/passwd", None).await.0, 404);
}

/// What a file of the page loads: every `"/page/…"` in it.
fn files_named_in(text: &str) -> impl Iterator<Item = String> {
    let after = text.split("\"/page/").skip(1);
    after.filter_map(|rest| Some(format!("/page/{}", rest.split_once('"')?.0)))
}

#[tokio::test]
async fn operators_see_whether_the_process_is_alive_and_ready() {
    let host = Host::start().await;
    assert_eq!(
        get(&host, "/healthz", None).await,
        (200, json!({ "alive": true }))
    );
    assert_eq!(
        get(&host, "/readyz", None).await,
        (200, json!({ "ready": true }))
    );
    host.not_ready("the broker does not answer");
    let (status, problem) = get(&host, "/readyz", None).await;
    assert_eq!(
        (status, &problem["reasons"]),
        (503, &json!(["the broker does not answer"]))
    );
    let mut bad = Client::open(&host).await;
    bad.send(&json!({})).await;
    bad.closed().await;
    let (mut ada, _) = Client::connect(&host, &host.token("ada", &[])).await;
    host.notify("user:ada", 1).await;
    ada.push().await.unwrap();
    let text = reqwest::get(host.url("/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for metric in [
        "carillon_gateway_connections{transport=\"websocket\"}",
        "carillon_gateway_pushes_total{transport=\"websocket\"}",
        "carillon_gateway_sent_bytes_total{transport=\"websocket\"}",
        "carillon_gateway_closes_total{code=\"3501\"}",
    ] {
        assert!(text.contains(metric), "{metric} is not in\n{text}");
    }
}
