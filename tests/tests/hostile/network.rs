//! Guests that reach out: to hosts that nobody granted, to this machine, and to hosts that never
//! answer. `echo` beside them hears everything meanwhile.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use carillon_tests::dns::NameServer;
use carillon_tests::host::{Host, http};
use carillon_tests::web::Web;
use serde_json::json;

use super::{Case, Outcome};

/// Longer than any request may take.
const NEVER: Duration = Duration::from_secs(3_600);
/// What a name is looked up as in these tests.
const NAME: &str = "api.example.test";

fn case(name: &'static str, config: String, urls: &[String]) -> Case {
    Case {
        name,
        guest: "http-caller",
        config,
        data: urls.iter().map(|url| json!({ "url": url })).collect(),
    }
}

/// `[plugins.http-caller.http]` with these hosts and networks.
fn grant(allow: &[&str], addresses: &[&str]) -> String {
    format!("[plugins.http-caller.http]\nallow = {allow:?}\naddresses = {addresses:?}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_host_answers_and_every_other_one_is_not_asked() {
    let granted = Web::start("127.0.0.1", NEVER).await.unwrap();
    let other = Web::start("127.0.0.1", NEVER).await.unwrap();
    let host = granted.url("");
    let outcome = case(
        "not-granted",
        grant(&[&host], &["127.0.0.0/8"]),
        &[granted.url("/ok"), other.url("/ok"), granted.url("/ok")],
    )
    .run()
    .await;
    assert_eq!(outcome.titles[0], "200");
    assert!(
        outcome.titles[1].contains("not among the hosts"),
        "{}",
        outcome.titles[1]
    );
    assert_eq!(outcome.titles[2], "200");
    assert_eq!((granted.asked().len(), other.asked().len()), (2, 0));
    told("not granted", outcome).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_address_is_not_dialled_however_it_is_spelled() {
    let web = Web::start("127.0.0.1", NEVER).await.unwrap();
    let port = web.port();
    let spellings = [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "localhost",
    ];
    let urls = spellings.map(|host| format!("http://{host}:{port}"));
    let allow: Vec<&str> = urls.iter().map(String::as_str).collect();
    let asked = urls.clone().map(|url| format!("{url}/ok"));
    let outcome = case("private-address", grant(&allow, &[]), &asked)
        .run()
        .await;
    for title in &outcome.titles {
        assert!(title.contains("a loopback address"), "{title}");
    }
    assert_eq!(outcome.titles.len(), spellings.len());
    assert_eq!(web.asked(), Vec::<String>::new());
    told("private address", outcome).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_a_private_address_is_not_followed() {
    let granted = Web::start("127.0.0.2", NEVER).await.unwrap();
    let inner = Web::start("127.0.0.1", NEVER).await.unwrap();
    // Even a host that is granted by name stays where it may not be dialled.
    let allow = [granted.url(""), inner.url("")];
    let allow: Vec<&str> = allow.iter().map(String::as_str).collect();
    let redirect = format!("/redirect?{}", inner.url("/ok"));
    let outcome = case(
        "redirect",
        grant(&allow, &["127.0.0.2"]),
        &[granted.url(&redirect), granted.url("/ok")],
    )
    .run()
    .await;
    assert!(
        outcome.titles[0].contains("a loopback address"),
        "{}",
        outcome.titles[0]
    );
    assert_eq!(outcome.titles[1], "200");
    assert_eq!((granted.asked().len(), inner.asked().len()), (2, 0));
    told("redirect", outcome).await;
}

/// Two hosts on one port of two addresses. A port that is free on one may be somebody's on the other.
async fn on_one_port() -> (Web, Web) {
    for _ in 0..100 {
        let good = Web::start("127.0.0.2", NEVER).await.unwrap();
        if let Ok(inner) = Web::start_at("127.0.0.1", good.port(), NEVER).await {
            return (good, inner);
        }
    }
    panic!("no port is free on both addresses");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_points_to_a_private_address_after_a_good_answer_is_not_dialled() {
    let (good, inner) = on_one_port().await;
    let port = good.port();
    let addresses = vec![Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST];
    let names = NameServer::start(addresses).await.unwrap();
    let host = format!("http://{NAME}:{port}");
    let config = format!(
        "[sandbox]\nnameservers = [\"{}\"]\n{}",
        names.address(),
        grant(&[&host], &["127.0.0.2"])
    );
    let urls = [
        format!("{host}/ok"),
        format!("{host}/ok"),
        format!("{host}/ok"),
    ];
    let outcome = case("rebinding", config, &urls).run().await;
    assert_eq!(outcome.titles[0], "200");
    for title in &outcome.titles[1..] {
        assert!(title.contains("127.0.0.1, a loopback address"), "{title}");
    }
    assert_eq!((good.asked().len(), inner.asked().len()), (1, 0));
    assert!(names.asked() >= 3, "each dial asks: {}", names.asked());
    told("rebinding", outcome).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_host_costs_its_own_plugin_time_and_nobody_else() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let slow = Web::start("127.0.0.1", NEVER).await.unwrap();
    let host = slow.url("");
    let config = format!(
        "{}timeout_ms = {}",
        grant(&[&host], &["127.0.0.1"]),
        TIMEOUT.as_millis()
    );
    let urls = vec![slow.url("/slow"); 5];
    let began = Instant::now();
    let outcome = case("slow-host", config, &urls).run().await;
    assert!(began.elapsed() >= TIMEOUT * 5);
    assert_eq!(outcome.titles, vec!["timeout"; 5]);
    assert_eq!(outcome.contents.dead_letters.len(), 0);
    told("slow host", outcome).await;
}

/// Prints what the guest was answered and what the operator sees of it.
async fn told(what: &str, outcome: Outcome) {
    let Outcome {
        mut host, titles, ..
    } = outcome;
    let counters = http_counters(&host).await;
    assert!(!counters.is_empty());
    println!(
        "{what}: echo heard all; the guest was answered {titles:?}; the operator reads: {}",
        counters.join(", ")
    );
    assert_eq!(host.stop().unwrap(), 0, "{}", host.log_tail());
}

/// What the metrics say of the plugin's requests.
async fn http_counters(host: &Host) -> Vec<String> {
    let url = format!("{}/metrics", host.gateway().unwrap());
    let metrics = http().unwrap().get(url).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let own = metrics
        .lines()
        .filter(|line| line.starts_with("carillon_plugin_http_requests_total"));
    own.map(ToOwned::to_owned).collect()
}
