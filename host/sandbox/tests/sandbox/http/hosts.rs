//! Which hosts and addresses are reached.

use std::net::Ipv4Addr;
use std::sync::Arc;

use carillon_sandbox::{Egress, Grants, HttpGrant, NoLog, Refusal};
use serde_json::json;

use super::{caller, caller_asking, grant, local, said, said_with, try_caller};
use crate::guests::{BEHAVE, call, guest, load, notified, sandbox};
use crate::name_server::NameServer;
use crate::servers::{Server, ok};

const THIS_MACHINE: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[test]
fn a_plugin_that_imports_http_says_so_and_is_refused_until_a_host_is_granted() {
    let sandbox = sandbox();
    assert!(!load(&sandbox, "echo").imports_http());
    let refusal = try_caller(&sandbox, HttpGrant::default()).unwrap_err();
    assert!(matches!(refusal, Refusal::NoHosts { .. }), "{refusal:?}");
    let sentence = refusal.to_string();
    assert!(
        sentence.contains("[plugins.http-caller.http] allow = ["),
        "{sentence}"
    );
    let plugin = caller(local("http://127.0.0.1"));
    assert!(plugin.imports_http());
    assert!(plugin.asked().contains(&"carillon:plugin/http".to_owned()));
    notified(call(&mut plugin.session(Egress::Open), BEHAVE));
}

#[test]
fn a_grant_that_nobody_asked_for_changes_nothing() {
    let grants = Grants {
        http: local("http://127.0.0.1"),
        ..Grants::default()
    };
    let examined = sandbox().examine(&guest("echo")).unwrap();
    let plugin = examined.ready(grants, Arc::new(NoLog)).unwrap();
    assert!(!plugin.imports_http());
    notified(call(&mut plugin.session(Egress::Open), BEHAVE));
}

#[test]
fn a_granted_host_is_asked_and_its_answer_is_handed_over() {
    let server = Server::start(|_| ok("all rooms are free"));
    let plugin = caller(local(&server.url("")));
    let request = json!({"url": server.url("/rooms?at=noon")});
    let (status, body) = said_with(&plugin, Egress::Open, &request);
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("200", "all rooms are free")
    );
    let seen = server.seen();
    assert!(
        seen[0].starts_with("GET /rooms?at=noon HTTP/1.1\r\n"),
        "{}",
        seen[0]
    );
    let host = format!("host: {}\r\n", server.address);
    assert!(seen[0].to_lowercase().contains(&host), "{}", seen[0]);
    assert!(seen[0].contains("user-agent: carillon/"), "{}", seen[0]);
    assert_eq!(plugin.highest().http_requests, 1);
}

#[test]
fn a_host_that_is_not_granted_is_not_asked() {
    let server = Server::start(|_| ok("secret"));
    let plugin = caller(local("http://127.0.0.1:1"));
    let port = server.address.port();
    for url in [
        server.url("/"),
        format!("http://localhost:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        "http://127.0.0.1/".to_owned(),
    ] {
        let said = said(&plugin, &json!({"url": url}));
        assert!(said.starts_with("not-granted: http"), "{said}");
        assert!(said.contains("[plugins.http-caller.http]"), "{said}");
    }
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn a_wildcard_reaches_the_names_below_and_not_the_name_itself() {
    let server = Server::start(|_| ok("below"));
    let port = server.address.port();
    let name_server = NameServer::start(|_, _| vec![THIS_MACHINE]);
    let plugin = caller_asking(
        &name_server,
        local(&format!("http://*.example.test:{port}")),
    );
    let said = |host: &str| said(&plugin, &json!({"url": format!("http://{host}:{port}/")}));
    assert_eq!(said("api.example.test"), "200");
    assert_eq!(said("a.b.example.test"), "200");
    assert!(said("example.test").starts_with("not-granted"));
    assert!(said("api.example.test.evil.test").starts_with("not-granted"));
    assert_eq!(server.seen().len(), 2);
    assert_eq!(name_server.asked("example.test"), 0);
}

#[test]
fn a_granted_name_with_a_private_address_is_not_dialled() {
    let server = Server::start(|_| ok("internal"));
    let port = server.address.port();
    let name_server = NameServer::start(|name, _| match name {
        "metadata.example.test" => vec![Ipv4Addr::new(169, 254, 169, 254)],
        "intranet.example.test" => vec![Ipv4Addr::new(10, 0, 0, 7), Ipv4Addr::new(10, 0, 0, 8)],
        "nobody.example.test" => vec![],
        _ => vec![THIS_MACHINE],
    });
    let allow = grant(json!({"allow": [format!("http://*.example.test:{port}")]}));
    let plugin = caller_asking(&name_server, allow);
    for (name, why) in [
        ("local", "has the address 127.0.0.1, a loopback address"),
        ("metadata", "169.254.169.254, a link-local address"),
        ("intranet", "a private address"),
    ] {
        let url = format!("http://{name}.example.test:{port}/");
        let said = said(&plugin, &json!({"url": url}));
        assert!(said.starts_with("not-granted"), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let url = format!("http://nobody.example.test:{port}/");
    let said = said(&plugin, &json!({"url": url}));
    assert!(said.starts_with("failed"), "{said}");
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn where_no_name_server_is_configured_the_system_is_asked_and_its_answer_is_checked() {
    let server = Server::start(|_| ok("here"));
    let url = format!("http://localhost:{}", server.address.port());
    let refusing = caller(grant(json!({"allow": [url]})));
    let refused = said(&refusing, &json!({"url": url}));
    assert!(
        refused.starts_with("not-granted: localhost has the"),
        "{refused}"
    );
    assert_eq!(said(&caller(local(&url)), &json!({"url": url})), "200");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn of_several_addresses_only_those_that_may_be_dialled_are() {
    let server = Server::start_on([127, 0, 0, 3].into(), 0, |_| ok("third"));
    let port = server.address.port();
    let private = [Ipv4Addr::new(10, 0, 0, 7), Ipv4Addr::new(127, 0, 0, 3)];
    let name_server = NameServer::start(move |_, _| private.to_vec());
    let plugin = caller_asking(
        &name_server,
        grant(json!({
            "allow": [format!("http://api.example.test:{port}")],
            "addresses": ["127.0.0.3"],
        })),
    );
    let url = format!("http://api.example.test:{port}/");
    // The first address would not answer before the time is over.
    assert_eq!(
        said(&plugin, &json!({"url": url, "timeoutMs": 2_000})),
        "200"
    );
}

#[test]
fn a_name_that_moves_to_another_address_after_a_good_answer_is_checked_again() {
    let good = Server::start_on([127, 0, 0, 2].into(), 0, |_| ok("good"));
    let port = good.address.port();
    let bad = Server::start_on([127, 0, 0, 1].into(), port, |_| ok("bad"));
    let name_server = NameServer::start(|_, before| {
        vec![Ipv4Addr::new(127, 0, 0, if before == 0 { 2 } else { 1 })]
    });
    let plugin = caller_asking(
        &name_server,
        grant(json!({
            "allow": [format!("http://api.example.test:{port}")],
            "addresses": ["127.0.0.2/32"],
        })),
    );
    let request = json!({"url": format!("http://api.example.test:{port}/")});
    let (status, body) = said_with(&plugin, Egress::Open, &request);
    assert_eq!((status.as_str(), body.as_str()), ("200", "good"));
    let said = said(&plugin, &request);
    assert!(said.starts_with("not-granted"), "{said}");
    assert!(said.contains("127.0.0.1, a loopback address"), "{said}");
    assert_eq!((good.seen().len(), bad.seen().len()), (1, 0));
    assert_eq!(name_server.asked("api.example.test"), 2);
}

#[test]
fn an_address_in_the_url_is_checked_however_it_is_spelled() {
    let server = Server::start(|_| ok("here"));
    let port = server.address.port();
    let allow = [
        format!("http://127.0.0.1:{port}"),
        format!("http://[::1]:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
    ];
    let spellings = [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ];
    let refusing = caller(grant(json!({"allow": allow})));
    for host in spellings {
        let said = said(&refusing, &json!({"url": format!("http://{host}:{port}/")}));
        assert!(said.contains("a loopback address"), "{host}: {said}");
    }
    assert_eq!(server.seen().len(), 0);
    let granted = caller(grant(
        json!({"allow": allow, "addresses": ["127.0.0.0/8", "::1"]}),
    ));
    for host in &spellings[..5] {
        let said = said(&granted, &json!({"url": format!("http://{host}:{port}/")}));
        assert_eq!(said, "200", "{host}");
    }
    // Nobody listens there, but it is dialled.
    let said = said(&granted, &json!({"url": format!("http://[::1]:{port}/")}));
    assert!(said.starts_with("failed"), "{said}");
}

#[test]
fn nothing_leaves_the_host_where_egress_is_closed() {
    let server = Server::start(|_| ok("live"));
    let plugin = caller(local(&server.url("")));
    let request = json!({"url": server.url("/")});
    let (said, _) = said_with(&plugin, Egress::Closed, &request);
    assert!(said.starts_with("failed: not sent"), "{said}");
    assert_eq!(server.seen().len(), 0);
    // The same warm instance, with the door open.
    assert_eq!(said_with(&plugin, Egress::Open, &request).0, "200");
    assert_eq!(server.seen().len(), 1);
}
