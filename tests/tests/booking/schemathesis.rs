//! PyPI's `schemathesis` over the document that the API publishes of itself.

use std::process::Command;

use carillon_tests::api::{Api, Call};
use carillon_tests::host::Setup;
use carillon_tests::python;

use crate::stage::size;

/// Every path needs its token.
const CONFIG: &str = "[booking_service]\nrequire_token = true\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_api_does_what_its_document_says() {
    let setup = Setup::run().argument("--demo").config(CONFIG);
    let host = setup.start().await.unwrap();
    let token = host.token_with("user-1", &["admin"]).unwrap();
    let api = Api::of(&host).unwrap().with_token(&token);
    let document = api.done(&Call::get("/openapi.json")).await.unwrap();
    let paths = document.body["paths"].as_object().unwrap().len();

    let url = format!("{}/openapi.json", host.booking().unwrap());
    let config = carillon_tests::root().join("tests/python/schemathesis.toml");
    let mut command = Command::new(python::program("schemathesis").unwrap());
    command
        .args([
            "--no-color",
            "--config-file",
            &config.display().to_string(),
            "run",
            &url,
            "--checks",
            "all",
            "--continue-on-failure",
        ])
        .args(["--max-examples", &size(15, 200).to_string()])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .current_dir(host.data())
        .env("NO_PROXY", "127.0.0.1")
        .env("COLUMNS", "120");
    if let Ok(seed) = std::env::var("BOOKING_SEED") {
        command.args(["--seed", &seed]);
    }
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();

    let report = String::from_utf8_lossy(&output.stdout);
    let line = |words: &str| {
        let found = report.lines().rfind(|line| line.contains(words));
        found.map(str::trim).unwrap_or_default().to_owned()
    };
    println!(
        "schemathesis: {paths} paths; {}; {}",
        line("generated"),
        line("Seed")
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}{errors}");
    assert!(
        !host.log().unwrap().contains("panicked"),
        "{}",
        host.log_tail()
    );
}
