//! Redirects, hop by hop.

use carillon_sandbox::Egress;
use serde_json::json;

use super::{all_said, caller, caller_asking, grant, local, said, said_with};
use crate::name_server::NameServer;
use crate::servers::{Reply, Server, ok, redirect};

#[test]
fn a_redirect_within_what_is_granted_is_followed() {
    let server = Server::start(|request| match request.starts_with("GET /old ") {
        true => redirect(302, "/new?kept=1"),
        false => ok("moved"),
    });
    let plugin = caller(local(&server.url("")));
    let (status, body) = said_with(&plugin, Egress::Open, &json!({"url": server.url("/old")}));
    assert_eq!((status.as_str(), body.as_str()), ("200", "moved"));
    assert!(server.seen()[1].starts_with("GET /new?kept=1 "));
}

#[test]
fn a_redirect_to_what_is_not_granted_or_private_is_not_followed() {
    let inner = Server::start(|_| ok("internal"));
    let inner_port = inner.address.port();
    let locations = [
        inner.url("/secret"),
        format!("//127.0.0.1:{inner_port}/secret"),
        format!("http://private.example.test:{inner_port}/secret"),
        "file:///etc/passwd".to_owned(),
        "http://me:secret@front.example.test/".to_owned(),
    ];
    let outer = Server::start_on([127, 0, 0, 5].into(), 0, move |request| {
        let number: usize = request["GET /".len()..][..1].parse().unwrap();
        redirect(302, &locations[number])
    });
    let port = outer.address.port();
    let name_server = NameServer::start(|name, _| match name {
        "front.example.test" => vec![[127, 0, 0, 5].into()],
        _ => vec![[127, 0, 0, 1].into()],
    });
    let plugin = caller_asking(
        &name_server,
        grant(json!({
            "allow": [
                format!("http://front.example.test:{port}"),
                format!("http://127.0.0.1:{port}"),
                format!("http://private.example.test:{inner_port}"),
            ],
            "addresses": ["127.0.0.5"],
        })),
    );
    let expected = [
        "not-granted: http://127.0.0.1",
        "not-granted: http://127.0.0.1",
        "not-granted: private.example.test has the address 127.0.0.1, a loopback address",
        "failed: the URL has the scheme \"file\"",
        "failed: the URL has a user or a password",
    ];
    for (number, expected) in expected.iter().enumerate() {
        let url = format!("http://front.example.test:{port}/{number}");
        let said = said(&plugin, &json!({"url": url}));
        assert!(said.starts_with(expected), "{number}: {said}");
    }
    assert_eq!(outer.seen().len(), expected.len());
    assert_eq!(inner.seen().len(), 0);
}

#[test]
fn redirects_are_bounded() {
    let server = Server::start(|request| {
        let number: u32 = request["GET /".len()..]
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        match number {
            0 => ok("at last"),
            number => redirect(307, &format!("/{}", number - 1)),
        }
    });
    let plugin = caller(local(&server.url("")));
    assert_eq!(said(&plugin, &json!({"url": server.url("/3")})), "200");
    let said = said(&plugin, &json!({"url": server.url("/4")}));
    assert_eq!(said, "failed: there are more than 3 redirects");
    let none = caller(grant(json!({
        "allow": [server.url("")], "addresses": ["127.0.0.1"], "max_redirects": 0,
    })));
    let url = json!({"url": server.url("/1")});
    assert_eq!(
        all_said(&none, &url),
        ["failed: there are more than 0 redirects"]
    );
}

#[test]
fn a_post_becomes_a_get_where_the_status_says_so_and_keeps_its_body_elsewhere() {
    let server = Server::start(|request| match request.contains(" /from") {
        true => {
            let status = request.split("/from/").nth(1).unwrap()[..3]
                .parse()
                .unwrap();
            redirect(status, "/to")
        }
        false => ok(""),
    });
    let plugin = caller(local(&server.url("")));
    for (status, method, has_body) in [
        (301, "GET", false),
        (302, "GET", false),
        (303, "GET", false),
        (307, "POST", true),
        (308, "POST", true),
    ] {
        let request = json!({
            "url": server.url(&format!("/from/{status}")),
            "method": "POST",
            "body": "a body",
            "headers": {"content-type": "text/plain", "x-kept": "yes"},
        });
        assert_eq!(said(&plugin, &request), "200");
        let seen = server.seen().pop().unwrap();
        assert!(
            seen.starts_with(&format!("{method} /to ")),
            "{status}: {seen}"
        );
        assert_eq!(seen.ends_with("a body"), has_body, "{status}: {seen}");
        assert_eq!(seen.contains("content-type"), has_body, "{status}: {seen}");
        assert!(seen.contains("x-kept: yes"), "{status}: {seen}");
    }
}

#[test]
fn a_status_of_redirects_without_a_location_is_a_response() {
    let server = Server::start(|_| {
        Reply::Bytes(b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n".to_vec())
    });
    let plugin = caller(local(&server.url("")));
    assert_eq!(said(&plugin, &json!({"url": server.url("/")})), "302");
}
