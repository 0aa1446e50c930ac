//! How often, how long, how much.

use std::sync::Arc;
use std::time::Duration;

use carillon_sandbox::{Egress, Grants, HttpGrant, NoLog, NoState};
use serde_json::{Value, json};

use super::{all_said, caller, grant, said, said_with};
use crate::captured::counted;
use crate::guests::{event, guest, notified, sandbox};
use crate::servers::{Reply, Server, ok};

/// A grant for this server, with further keys.
fn bounded(server: &Server, keys: &Value) -> HttpGrant {
    let mut written = json!({"allow": [server.url("")], "addresses": ["127.0.0.1"]});
    for (key, value) in keys.as_object().unwrap() {
        written[key] = value.clone();
    }
    grant(written)
}

#[test]
fn requests_of_one_event_are_counted_and_those_beyond_are_not_sent() {
    let server = Server::start(|_| ok(""));
    let plugin = caller(bounded(&server, &json!({"max_requests": 2})));
    let request = json!({"url": server.url("/"), "times": 4});
    let too_many = "failed: not sent: one event may cause 2 requests";
    for _ in 0..2 {
        // The next event begins anew, on the same instance.
        assert_eq!(
            all_said(&plugin, &request),
            ["200", "200", too_many, too_many]
        );
    }
    assert_eq!(server.seen().len(), 4);
    assert_eq!(plugin.highest().http_requests, 2);
}

#[test]
fn an_exchange_ends_when_its_time_is_over_and_the_wait_is_not_the_guests_wall_clock() {
    let server = Server::start(|_| Reply::Silence);
    let mut grants = Grants {
        http: bounded(&server, &json!({"timeout_ms": 300})),
        ..Grants::default()
    };
    grants.limits.wall_ms = 100;
    let examined = sandbox().examine(&guest("http-caller")).unwrap();
    let plugin = examined.ready(grants, Arc::new(NoLog)).unwrap();
    let data = json!({"url": server.url("/")}).to_string();
    let mut session = plugin.session(Egress::Open);
    let call = session.handle(&event(&data), Box::new(NoState));
    assert!(call.took >= Duration::from_millis(300), "{:?}", call.took);
    assert_eq!(notified(call.answer).title, "timeout");
    let used = plugin.highest();
    assert!(used.http_ms >= 300, "{used:?}");
    assert!(used.wall_us < 100_000, "{used:?}");
    assert!(used.cpu_us < 100_000, "{used:?}");
}

#[test]
fn the_guest_may_wait_for_less_and_not_for_more() {
    let server = Server::start(|_| Reply::Silence);
    let plugin = caller(bounded(&server, &json!({"timeout_ms": 200})));
    let took = |timeout_ms: u64| {
        let data = json!({"url": server.url("/"), "timeoutMs": timeout_ms}).to_string();
        let mut session = plugin.session(Egress::Open);
        let call = session.handle(&event(&data), Box::new(NoState));
        assert_eq!(notified(call.answer).title, "timeout");
        call.took
    };
    assert!(took(20) < Duration::from_millis(200));
    assert!(took(3_600_000) < Duration::from_secs(60));
    assert_eq!(
        said(&plugin, &json!({"url": server.url("/"), "timeoutMs": 0})),
        "timeout"
    );
}

#[test]
fn all_exchanges_of_one_event_share_a_budget() {
    let server = Server::start(|_| Reply::Silence);
    let plugin = caller(bounded(
        &server,
        &json!({"timeout_ms": 150, "budget_ms": 200}),
    ));
    let request = json!({"url": server.url("/"), "times": 5});
    assert_eq!(all_said(&plugin, &request), ["timeout"; 5]);
    // The third and later ones were not even sent.
    assert_eq!(server.seen().len(), 2);
    let used = plugin.highest().http_ms;
    assert!((200..1_000).contains(&used), "{used}");
}

#[test]
fn a_response_is_read_up_to_its_limit_and_no_further() {
    let of = |bytes: usize, head: &str| {
        let body = "x".repeat(bytes);
        Reply::Bytes(format!("HTTP/1.1 200 OK\r\n{head}connection: close\r\n\r\n{body}").into())
    };
    let server = Server::start(move |request| {
        let path = request.split(' ').nth(1).unwrap();
        match path {
            "/fits" => of(1_000, "content-length: 1000\r\n"),
            "/fits-unannounced" => of(1_000, ""),
            "/announced" => of(1_001, "content-length: 1001\r\n"),
            "/unannounced" => of(1_001, ""),
            "/endless" => of(64 << 20, ""),
            "/header" => of(0, &format!("x-long: {}\r\n", "x".repeat(40_000))),
            _ => of(10, "content-length: 1000\r\n"),
        }
    });
    let plugin = caller(bounded(&server, &json!({"max_response_bytes": 1_000})));
    for (path, expected) in [
        ("/fits", "200"),
        ("/fits-unannounced", "200"),
        ("/announced", "too-large"),
        ("/unannounced", "too-large"),
        ("/endless", "too-large"),
        ("/header", "too-large"),
        ("/cut-off", "failed"),
    ] {
        let said = said(&plugin, &json!({"url": server.url(path)}));
        assert!(said.starts_with(expected), "{path}: {said}");
    }
    let request = json!({"url": server.url("/fits")});
    assert_eq!(said_with(&plugin, Egress::Open, &request).1.len(), 1_000);
}

#[test]
fn a_request_beyond_its_limit_is_not_sent() {
    let server = Server::start(|_| ok(""));
    let plugin = caller(bounded(&server, &json!({"max_request_bytes": 100})));
    let post =
        |bytes: usize| json!({"url": server.url("/"), "method": "POST", "body": "b".repeat(bytes)});
    assert_eq!(said(&plugin, &post(100)), "200");
    let said = said(&plugin, &post(101));
    assert_eq!(
        said,
        "failed: the body has 101 bytes, and at most 100 are sent"
    );
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_server_that_refuses_or_talks_nonsense_is_an_error_of_the_interface() {
    let server = Server::start(|_| Reply::Bytes(b"220 mail.example.org ESMTP\r\n".to_vec()));
    let plugin = caller(bounded(&server, &json!({})));
    let said_of_nonsense = said(&plugin, &json!({"url": server.url("/?private=1")}));
    assert!(
        said_of_nonsense.starts_with("failed: "),
        "{said_of_nonsense}"
    );
    assert!(!said_of_nonsense.contains("private"), "{said_of_nonsense}");
    let url = server.url("/");
    drop(server);
    let said = said(&plugin, &json!({"url": url}));
    assert!(said.contains("refused"), "{said}");
}

#[test]
fn requests_are_counted_by_what_came_of_them() {
    let server = Server::start(|request| match request.starts_with("GET /slow ") {
        true => Reply::Silence,
        false => ok("some bytes"),
    });
    let keys = json!({"max_requests": 3, "max_response_bytes": 10, "timeout_ms": 50});
    let plugin = caller(bounded(&server, &keys));
    let small = caller(bounded(&server, &json!({"max_response_bytes": 9})));
    let counted = counted(|| {
        said(&plugin, &json!({"url": server.url("/"), "times": 5}));
        said(&plugin, &json!({"url": server.url("/slow")}));
        said(&plugin, &json!({"url": "https://example.org"}));
        said(&small, &json!({"url": server.url("/")}));
    });
    let outcome = |outcome: &str, count: u64| {
        let name = format!("carillon_plugin_http_requests_total(http-caller, {outcome})");
        (name, count)
    };
    assert_eq!(
        counted,
        [
            outcome("answered", 3),
            outcome("failed", 2),
            outcome("not-granted", 1),
            outcome("timeout", 1),
            outcome("too-large", 1),
        ]
    );
}

#[test]
fn a_grant_says_which_of_its_keys_is_wrong() {
    for (written, words) in [
        (
            json!({"allow": ["example.org"]}),
            "\"example.org\" does not begin",
        ),
        (json!({"addresses": ["10.0.0.0/99"]}), "\"10.0.0.0/99\""),
        (json!({"max_request": 1}), "max_request"),
        (
            json!({"secrets": {"A": {"env": "A", "file": "b"}}}),
            "one place",
        ),
    ] {
        let error = serde_json::from_value::<HttpGrant>(written).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}
