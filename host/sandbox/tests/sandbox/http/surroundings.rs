//! What the process brings along: its environment, and whom it trusts. Each test runs as a
//! process of its own.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};
use serde_json::json;

use super::{caller, grant, local, said};
use crate::servers::{Server, ok, read_request};

const URL: &str = "CARILLON_TEST_URL";

fn key(name: &str) -> String {
    format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a test of this module in another process.
fn run(child: &str, url: &str, environment: &[(&str, &str)]) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored"])
        .arg(format!("http::surroundings::{child}"))
        .env(URL, url)
        .env_remove("SSL_CERT_DIR")
        .envs(environment.iter().copied())
        .status()
        .unwrap();
    assert!(status.success());
}

fn url() -> String {
    std::env::var(URL).unwrap()
}

#[test]
fn proxies_of_the_environment_are_not_used() {
    let server = Server::start(|_| ok("direct"));
    let proxy = Server::start(|_| ok("by proxy"));
    let proxy_url = proxy.url("");
    let environment = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
    run(
        "child_sends_a_request",
        &server.url(""),
        &environment.map(|name| (name, proxy_url.as_str())),
    );
    assert_eq!((server.seen().len(), proxy.seen().len()), (1, 0));
}

#[test]
#[ignore = "a child of another test"]
fn child_sends_a_request() {
    let plugin = caller(local(&url()));
    assert_eq!(said(&plugin, &json!({"url": url()})), "200");
}

#[test]
fn a_server_is_believed_if_the_system_trusts_who_vouches_for_it() {
    let url = https_server(2);
    let authority = key("authority.pem");
    run(
        "child_trusts_the_server",
        &url,
        &[("SSL_CERT_FILE", &authority)],
    );
    // The certificates of the system know nothing of the tests' own authority.
    let plugin = caller(local(&url));
    let said = said(&plugin, &json!({"url": url}));
    assert!(said.starts_with("failed: "), "{said}");
    assert!(said.contains("certificate"), "{said}");
}

#[test]
#[ignore = "a child of another test"]
fn child_trusts_the_server() {
    let plugin = caller(grant(json!({
        "allow": [url()],
        "addresses": ["127.0.0.1"],
        "secrets": {"TOKEN": {"value": "hush"}},
    })));
    let request = json!({"url": url(), "headers": {"x-key": "{{secret:TOKEN}}"}});
    assert_eq!(said(&plugin, &request), "200");
}

/// A server for so many connections.
fn https_server(connections: usize) -> String {
    let certificate = CertificateDer::from_pem_file(key("server.pem")).unwrap();
    let private = PrivateKeyDer::from_pem_file(key("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], private)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = stream.unwrap();
            let mut stream = Stream::new(&mut connection, &mut stream);
            let request = read_request(&mut stream);
            let answer: &[u8] = match request.contains("x-key: hush\r\n") {
                true => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                false => b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
            };
            // A client that does not trust this server has hung up.
            let _ = std::io::Write::write_all(&mut stream, answer);
            connection.send_close_notify();
        }
    });
    format!("https://{address}")
}
