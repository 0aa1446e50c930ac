//! Who may operate.

use serde_json::Value;

use crate::host::{ADMIN_TOKEN, Host};

const PATHS: [(&str, &str); 19] = [
    ("GET", "plugins"),
    ("GET", "plugins/a"),
    ("PUT", "plugins/a"),
    ("DELETE", "plugins/a"),
    ("POST", "plugins/a/pause"),
    ("POST", "plugins/a/resume"),
    ("POST", "plugins/a/promote"),
    ("POST", "plugins/a/abort"),
    ("POST", "plugins/a/rollback"),
    ("PATCH", "plugins/a/settings"),
    ("GET", "plugins/a/versions"),
    ("GET", "plugins/a/logs"),
    ("GET", "plugins/a/diff"),
    ("POST", "plugins/a/replay"),
    ("GET", "replays/1"),
    ("GET", "lanes"),
    ("GET", "dead-letters"),
    ("GET", "explain/a"),
    ("GET", "audit"),
];

fn request(host: &Host, method: &str, path: &str) -> reqwest::RequestBuilder {
    let method = method.parse().unwrap();
    reqwest::Client::new().request(method, host.url(&format!("/admin/{path}")))
}

#[tokio::test]
async fn nothing_of_admin_is_reached_without_an_admin_token() {
    let host = Host::start().await;
    let user = host.token("ada", &["staff"]);
    for (method, path) in PATHS {
        for token in [None, Some(user.as_str()), Some("nearly-a-secret-of-ada's")] {
            let mut request = request(&host, method, path);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401, "{method} {path}");
            let challenge = response.headers()["www-authenticate"].to_str().unwrap();
            let expected = match token {
                None => "Bearer realm=\"carillon\"",
                Some(_) => "Bearer realm=\"carillon\", error=\"invalid_token\"",
            };
            assert_eq!(challenge, expected, "{method} {path}");
            let problem: Value = response.json().await.unwrap();
            assert_eq!(problem["status"], 401, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_path_of_admin_is_there_for_an_operator() {
    let host = Host::start().await;
    for (method, path) in PATHS {
        let request = request(&host, method, path).bearer_auth(ADMIN_TOKEN);
        let response = request.send().await.unwrap();
        let status = response.status();
        // What stands behind it says no to a plugin that is not there, but the path is known.
        assert!(status != 401 && status != 405, "{method} {path}: {status}");
        if status == 404 {
            let problem: Value = response.json().await.unwrap();
            assert_eq!(
                problem["type"], "urn:carillon:problem:not-found",
                "{method} {path}"
            );
        }
    }
    let response = request(&host, "PUT", "lanes")
        .bearer_auth(ADMIN_TOKEN)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
}

#[tokio::test]
async fn pages_of_other_origins_get_nothing_and_caches_keep_nothing() {
    let host = Host::start().await;
    let response = request(&host, "GET", "plugins")
        .bearer_auth(ADMIN_TOKEN)
        .header("origin", "https://elsewhere.example")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(
        !response
            .headers()
            .contains_key("access-control-allow-origin")
    );
    let preflight = request(&host, "OPTIONS", "plugins")
        .header("origin", "https://elsewhere.example")
        .header("access-control-request-method", "PUT")
        .send()
        .await
        .unwrap();
    assert!(!preflight.status().is_success());
    assert!(
        !preflight
            .headers()
            .contains_key("access-control-allow-origin")
    );
}
