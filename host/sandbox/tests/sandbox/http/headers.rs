//! Headers and the secrets in them.

use std::sync::Arc;

use carillon_sandbox::{Grants, HttpGrant, NoLog, Plugin, Refusal};
use serde_json::{Value, json};

use super::{caller, grant, local, said, try_caller};
use crate::captured::logged;
use crate::guests::{guest, sandbox};
use crate::servers::{Server, ok, redirect};

fn with_secret(allow: &[String]) -> HttpGrant {
    grant(json!({
        "allow": allow,
        "addresses": ["127.0.0.1"],
        "secrets": {"TOKEN": {"value": "hush-hush"}, "OTHER": {"value": "other"}},
    }))
}

#[track_caller]
fn fails(plugin: &Plugin, request: &Value, words: &str) {
    let said = said(plugin, request);
    assert!(said.starts_with("failed: "), "{said}");
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_secret_is_put_into_a_header_by_the_host() {
    let server = Server::start(|_| ok(""));
    let plugin = caller(with_secret(&[server.url("")]));
    let request = json!({
        "url": server.url("/"),
        "headers": {
            "authorization": "Bearer {{secret:TOKEN}}",
            "x-both": "{{secret:TOKEN}}+{{secret:OTHER}}",
            "x-plain": "{{TOKEN}}",
        },
    });
    assert_eq!(said(&plugin, &request), "200");
    let seen = &server.seen()[0];
    assert!(
        seen.contains("authorization: Bearer hush-hush\r\n"),
        "{seen}"
    );
    assert!(seen.contains("x-both: hush-hush+other\r\n"), "{seen}");
    assert!(seen.contains("x-plain: {{TOKEN}}\r\n"), "{seen}");
}

#[test]
fn a_secret_stands_in_no_url_and_no_body_and_must_be_known() {
    let server = Server::start(|_| ok(""));
    let plugin = caller(with_secret(&[server.url("")]));
    let url = server.url("/?key={{secret:TOKEN}}");
    fails(&plugin, &json!({"url": url}), "a secret stands in the URL");
    for (value, words) in [
        ("{{secret:WRONG}}", "the secret \"WRONG\" is not among"),
        ("{{secret:TOKEN", "has no end"),
    ] {
        let request = json!({"url": server.url("/"), "headers": {"x": value}});
        fails(&plugin, &request, words);
    }
    assert_eq!(server.seen().len(), 0);
    let request = json!({
        "url": server.url("/"), "method": "POST", "body": "{{secret:TOKEN}}",
    });
    assert_eq!(said(&plugin, &request), "200");
    assert!(server.seen()[0].ends_with("{{secret:TOKEN}}"));
}

#[test]
fn a_redirect_takes_secrets_along_to_the_same_host_and_to_no_other() {
    let other = Server::start(|_| ok(""));
    let elsewhere = other.url("/there");
    let server = Server::start(move |request| {
        if request.starts_with("GET /within ") {
            redirect(307, "/there")
        } else if request.starts_with("GET /out ") {
            redirect(307, &elsewhere)
        } else {
            ok("")
        }
    });
    let plugin = caller(with_secret(&[server.url(""), other.url("")]));
    let request = |path: &str| {
        json!({
            "url": server.url(path),
            "headers": {
                "x-key": "{{secret:TOKEN}}",
                "authorization": "Basic YTpi",
                "cookie": "session=1",
                "x-open": "to all",
            },
        })
    };
    assert_eq!(said(&plugin, &request("/within")), "200");
    let within = &server.seen()[1];
    assert!(within.contains("x-key: hush-hush"), "{within}");
    assert!(within.contains("authorization: Basic"), "{within}");
    assert_eq!(said(&plugin, &request("/out")), "200");
    let out = &other.seen()[0];
    assert!(out.contains("x-open: to all"), "{out}");
    for kept_back in ["x-key", "hush-hush", "authorization", "cookie"] {
        assert!(!out.contains(kept_back), "{out}");
    }
}

#[test]
fn a_secret_that_cannot_be_read_is_a_refusal_that_names_it() {
    let refused = |source: Value| {
        let grant = grant(json!({
            "allow": ["https://api.example.org"],
            "secrets": {"API_KEY": source},
        }));
        let refusal = try_caller(&sandbox(), grant).unwrap_err();
        assert!(matches!(refusal, Refusal::Secret { .. }), "{refusal:?}");
        refusal.to_string()
    };
    let sentence = refused(json!({"env": "CARILLON_TEST_NO_SUCH_VARIABLE"}));
    assert!(sentence.contains("the secret \"API_KEY\""), "{sentence}");
    assert!(
        sentence.contains("CARILLON_TEST_NO_SUCH_VARIABLE"),
        "{sentence}"
    );
    assert!(
        sentence.contains("[plugins.http-caller.http.secrets]"),
        "{sentence}"
    );
    let sentence = refused(json!({"file": "/nowhere/key"}));
    assert!(sentence.contains("/nowhere/key"), "{sentence}");
}

#[test]
fn what_is_logged_of_a_request_is_its_host_and_what_came_of_it() {
    let server = Server::start(|_| ok(""));
    let plugin = caller(with_secret(&[server.url("")]));
    let request = json!({
        "url": server.url("/path?query=private"),
        "headers": {"x-key": "{{secret:TOKEN}}"},
    });
    let lines = logged(|| drop(said(&plugin, &request)));
    let line = lines.iter().find(|line| line.contains("was answered"));
    let line = line.unwrap_or_else(|| panic!("{lines:?}"));
    for part in [
        "DEBUG",
        "plugin=\"http-caller\"",
        "event=\"event-1\"",
        &format!("host=\"http://{}\"", server.address),
        "status=200",
        "took_ms=",
    ] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    let all = lines.join("\n");
    assert!(
        !all.contains("private") && !all.contains("hush-hush"),
        "{all}"
    );
}

#[test]
fn a_request_that_is_not_granted_is_in_the_plugins_log_and_no_flood() {
    let mut grants = Grants {
        http: grant(json!({"allow": ["https://api.example.org"], "max_requests": 100})),
        ..Grants::default()
    };
    grants.limits.log_lines_per_s = 3;
    let examined = sandbox().examine(&guest("http-caller")).unwrap();
    let plugin = examined.ready(grants, Arc::new(NoLog)).unwrap();
    let request = json!({"url": "http://10.0.0.1/?query=private", "times": 100});
    let lines = logged(|| drop(said(&plugin, &request)));
    assert!((3..10).contains(&lines.len()), "{lines:?}");
    for part in [
        "WARN",
        "plugin=\"http-caller\"",
        "http: not granted: http://10.0.0.1 is not among the hosts in [plugins.http-caller.http] allow",
    ] {
        assert!(lines[0].contains(part), "{part} is missing in {}", lines[0]);
    }
    assert!(!lines[0].contains("private"), "{}", lines[0]);
}

#[test]
fn what_the_host_sets_the_guest_may_not_and_odd_requests_are_not_sent() {
    let server = Server::start(|_| ok(""));
    let plugin = caller(local(&server.url("")));
    let url = server.url("/");
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "connection",
        "upgrade",
    ] {
        let request = json!({"url": url, "headers": {name: "1"}});
        fails(&plugin, &request, "is set by the host");
    }
    let many: serde_json::Map<String, Value> =
        (0..65).map(|n| (format!("x-{n}"), json!(""))).collect();
    let address = server.address;
    for (request, words) in [
        (
            json!({"url": url, "headers": {"two\nlines": ""}}),
            "not the name",
        ),
        (
            json!({"url": url, "headers": {"x": "a\r\nhost: b"}}),
            "cannot be sent",
        ),
        (json!({"url": url, "headers": many}), "65 headers"),
        (
            json!({"url": url, "headers": {"x": "y".repeat(17_000)}}),
            "at most 16384",
        ),
        (json!({"url": url, "method": "CONNECT"}), "not a method"),
        (json!({"url": url, "method": "GET /\r\n"}), "not a method"),
        (json!({"url": "/rooms"}), "cannot be read"),
        (
            json!({"url": format!("{url}{}", "a".repeat(9_000))}),
            "at most 8192",
        ),
        (json!({"url": "ftp://example.org/"}), "https or http"),
        (
            json!({"url": format!("http://me:pass@{address}/")}),
            "a user or a password",
        ),
    ] {
        fails(&plugin, &request, words);
    }
    assert_eq!(server.seen().len(), 0);
}
