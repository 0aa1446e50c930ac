//! PyPI's `schemathesis` over the document that the API publishes of itself.

use std::path::Path;
use std::process::{Command, ExitStatus, Output};

use carillon_tests::api::{Api, Call};
use carillon_tests::host::{Host, Setup};
use carillon_tests::python;
use serde_json::{Value, json};

use crate::stage::{is_long, size};

/// Every path needs its token.
const CONFIG: &str = "[booking_service]\nrequire_token = true\n";

/// What the short form draws its cases from, so that it draws the same ones every time.
const SEED: &str = "20310506";

/// Where the figures are left, in the host's folder.
const REPORT: &str = "schemathesis.json";

#[tokio::test(flavor = "multi_thread")]
async fn the_api_does_what_its_document_says() {
    let (host, api, token) = start().await;
    let document = api.done(&Call::get("/openapi.json")).await.unwrap();
    let operations: usize = document.body["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|path| path.as_object().unwrap().len())
        .sum();

    let (status, told) = run(command(&host, &token)).await;
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
    assert!(
        !host.log().unwrap().contains("panicked"),
        "{}",
        host.log_tail()
    );
}

/// Stateful testing follows the document's links from what was made, so that these are asked with ids that
/// there are. Whoever guesses ids meets 404 alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_leads_to_what_can_be_done_with_it() {
    const LINKS: [(&str, &str, &str, &str); 2] = [
        (
            "waitlist_join",
            "waitlist_accept",
            "POST",
            "/waitlist/{resourceId}/{entryId}/accept",
        ),
        (
            "calendars_add_to_user",
            "calendars_revoke",
            "DELETE",
            "/calendars/{id}",
        ),
    ];
    let (host, api, token) = start().await;
    // The month from which the hooks draw: nobody waits for a time that is free.
    for room in 1..=4 {
        let month = json!({
            "resourceId": format!("room-{room}"), "userId": "user-1", "title": "All of May",
            "startTime": "2031-05-01T00:00:00Z", "endTime": "2031-05-31T00:00:00Z",
        });
        api.done(&Call::post("/bookings", month)).await.unwrap();
    }

    for (from, to, method, route) in LINKS {
        // Most of those who would join have a wish that cannot be.
        let mut command = command(&host, &token);
        command.args(["--phases", "stateful", "--max-examples", "200"]);
        for operation in [from, to] {
            command.args(["--include-operation-id", operation]);
        }
        let (status, told) = run(command).await;
        assert!(status.success(), "{told}");
        let metrics = api.done(&Call::get("/metrics")).await.unwrap().text;
        let (found, missed) = met(&metrics, method, route);
        println!("schemathesis: {to} met {found} that are there, {missed} that are not");
        assert!(
            found > 0,
            "{to} was never asked with an id that there is: {told}"
        );
    }
}

/// How many requests to a route met what is there, and how many what is not.
fn met(metrics: &str, method: &str, route: &str) -> (u64, u64) {
    let series = format!("carillon_booking_requests_total{{method=\"{method}\",route=\"{route}\",");
    let (mut found, mut missed) = (0, 0);
    for line in metrics.lines() {
        let Some((status, count)) = line
            .strip_prefix(&series)
            .and_then(|rest| rest.rsplit_once(' '))
        else {
            continue;
        };
        let count: u64 = count.parse().unwrap();
        match status.trim_matches(|char: char| !char.is_ascii_digit()) {
            // Done, or refused for the state that it is in.
            status if status.starts_with('2') || status == "409" => found += count,
            "404" => missed += count,
            // Refused before anybody looked.
            _ => {}
        }
    }
    (found, missed)
}

#[test]
fn whoever_is_turned_away_before_anybody_looked_has_met_nothing() {
    let count = |status: u16| {
        let line = format!(
            "carillon_booking_requests_total{{method=\"POST\",route=\"/a\",status=\"{status}\"}} 1"
        );
        met(&line, "POST", "/a")
    };
    for status in [200, 201, 204, 409] {
        assert_eq!(count(status), (1, 0), "{status}");
    }
    assert_eq!(count(404), (0, 1));
    for status in [400, 401, 403, 412, 422, 429, 500, 503] {
        assert_eq!(count(status), (0, 0), "{status}");
    }
}

/// A host, and a client of its API that may do everything.
async fn start() -> (Host, Api, String) {
    let setup = Setup::run().argument("--demo").config(CONFIG);
    let host = setup.start().await.unwrap();
    let token = host.token_with("user-1", &["admin"]).unwrap();
    let api = Api::of(&host).unwrap().with_token(&token);
    (host, api, token)
}

/// How it ended, and all that it printed.
async fn run(mut command: Command) -> (ExitStatus, String) {
    let output = tokio::task::spawn_blocking(move || command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = output.await.unwrap().unwrap();
    let told = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (status, told.concat())
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
