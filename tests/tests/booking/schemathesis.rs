//! PyPI's `schemathesis` over the document that the API publishes of itself.

use std::path::Path;
use std::process::{Command, Output};

use carillon_tests::api::{Api, Call};
use carillon_tests::host::{Host, Setup};
use carillon_tests::python;
use serde_json::Value;

use crate::stage::{is_long, size};

/// Every path needs its token.
const CONFIG: &str = "[booking_service]\nrequire_token = true\n";

/// What the short form draws its cases from, so that it draws the same ones every time.
const SEED: &str = "20310506";

/// Where the figures are left, in the host's folder.
const REPORT: &str = "schemathesis.json";

/// What nobody reaches who guesses ids: the document links to it from where they are made.
const LINKED: [(&str, &str); 2] = [
    ("POST", "/waitlist/{resourceId}/{entryId}/accept"),
    ("DELETE", "/calendars/{id}"),
];

/// How many requests were answered by this route, and how many of them with 404.
fn met(metrics: &str, method: &str, route: &str) -> (u64, u64) {
    let series = format!("carillon_booking_requests_total{{method=\"{method}\",route=\"{route}\",");
    let counts = metrics.lines().filter(|line| line.starts_with(&series));
    counts.fold((0, 0), |(found, missed), line| {
        let count: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        match line.contains("status=\"404\"") {
            true => (found, missed + count),
            // What has not its form was refused before anybody looked.
            false if line.contains("status=\"400\"") => (found, missed),
            false => (found + count, missed),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_does_what_its_document_says() {
    let setup = Setup::run().argument("--demo").config(CONFIG);
    let host = setup.start().await.unwrap();
    let token = host.token_with("user-1", &["admin"]).unwrap();
    let api = Api::of(&host).unwrap().with_token(&token);
    let document = api.done(&Call::get("/openapi.json")).await.unwrap();
    let operations: usize = document.body["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|path| path.as_object().unwrap().len())
        .sum();

    let mut command = command(&host, &token);
    let output = tokio::task::spawn_blocking(move || command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = output.await.unwrap().unwrap();
    let told = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let told = told.concat();

    let report = std::fs::read(host.data().join(REPORT)).unwrap_or_else(|_| panic!("{told}"));
    let report: Value = serde_json::from_slice(&report).unwrap();
    let cases = &report["test_cases"];
    println!(
        "schemathesis: {operations} operations, all checks, {} cases, failures {}, errors {}; \
         {} refusals that no schema can avoid; seed {}",
        cases["generated"],
        cases["unique_failures"],
        cases["errored"],
        report["filtered"],
        report["seed"],
    );
    assert!(status.success(), "{told}");
    assert_eq!(cases["unique_failures"], 0, "{told}");
    assert_eq!(report["operations"]["tested"], operations, "{told}");
    let metrics = api.done(&Call::get("/metrics")).await.unwrap().text;
    for (method, route) in LINKED {
        let (found, missed) = met(&metrics, method, route);
        println!("schemathesis: {method} {route}: {found} met what is there, {missed} what is not");
        assert!(
            found > 0,
            "{method} {route} was never asked with an id that there is"
        );
    }
    assert!(
        !host.log().unwrap().contains("panicked"),
        "{}",
        host.log_tail()
    );
}

fn command(host: &Host, token: &str) -> Command {
    let folder = carillon_tests::root().join("tests/python");
    let text = |path: &Path| path.display().to_string();
    let url = format!("{}/openapi.json", host.booking().unwrap());
    let mut command = Command::new(python::program("schemathesis").unwrap());
    command
        .arg("--no-color")
        .args(["--config-file", &text(&folder.join("schemathesis.toml"))])
        .args(["run", &url, "--checks", "all", "--continue-on-failure"])
        .args(["--max-examples", &size(50, 300).to_string()])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--report", "json", "--report-json-path", REPORT])
        .current_dir(host.data())
        .env("SCHEMATHESIS_HOOKS", folder.join("schemathesis_hooks.py"))
        .env("NO_PROXY", "127.0.0.1")
        .env("COLUMNS", "120");
    match std::env::var("BOOKING_SEED") {
        Ok(seed) => command.args(["--seed", &seed]),
        Err(_) if is_long() => &mut command,
        Err(_) => command.args(["--seed", SEED]),
    };
    command
}
