//! `carillon plugin load`.

use std::fmt::Write as _;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use carillon_pipeline::LoadOutcome;
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method};

use super::client::Client;
use super::progress::{Progress, is_seen};
use super::source::Source;
use super::words;
use crate::arguments::LoadOptions;

/// From this size on, sending is shown.
const SHOWN_FROM_BYTES: usize = 1 << 20;

/// What is sent between two looks at the bar.
const CHUNK_BYTES: usize = 64 << 10;

pub(crate) async fn load(options: &LoadOptions) -> Result<()> {
    let client = Client::find(&options.remote)?;
    let source = Source::read(&options.source, options.signature.as_deref()).await?;
    let mut request = client
        // Whatever name the binary gives itself.
        .request(Method::PUT, &["plugins", "_"])
        .query(&query(options))
        .header(CONTENT_TYPE, "application/wasm");
    if let Ok(origin) = HeaderValue::from_bytes(source.origin.as_bytes()) {
        request = request.header("x-carillon-origin", origin);
    }
    if let Some(signature) = &source.signature {
        request = request.header("x-carillon-signature", STANDARD.encode(signature));
    }
    let length = source.binary.len();
    let body = if length < SHOWN_FROM_BYTES || !is_seen() {
        Body::from(source.binary)
    } else {
        shown(source.binary)
    };
    let request = request.header(CONTENT_LENGTH, length).body(body);
    client.tell(request, told).await
}

fn query(options: &LoadOptions) -> Vec<(&'static str, String)> {
    let mut query = vec![("start", options.start.clone())];
    if options.shadow {
        query.push(("as", "shadow".to_owned()));
    }
    if let Some(percent) = options.canary {
        query.push(("as", "canary".to_owned()));
        query.push(("share", percent.to_string()));
    }
    if let Some(faults) = options.abort_after {
        query.push(("abort_after", faults.to_string()));
    }
    query
}

/// A body that draws a bar as it is read.
fn shown(binary: Vec<u8>) -> Body {
    let of = binary.len() as u64;
    let start = (binary, 0_usize, Progress::new("sending"));
    let chunks = stream::unfold(start, move |(binary, sent, mut progress)| async move {
        let rest = binary.get(sent..).filter(|rest| !rest.is_empty())?;
        let chunk = rest[..rest.len().min(CHUNK_BYTES)].to_vec();
        let sent = sent + chunk.len();
        progress.draw(sent as u64, of);
        Some((Ok::<_, std::io::Error>(chunk), (binary, sent, progress)))
    });
    Body::wrap_stream(chunks)
}

/// What a load came to, in words.
pub(crate) fn told(outcome: &LoadOutcome) -> String {
    let LoadOutcome {
        plugin,
        version,
        load,
        runs_as,
        ..
    } = outcome;
    let before = match (&outcome.replaced, runs_as.as_str()) {
        (_, "shadow" | "canary") => format!(
            "as {runs_as} beside what runs; `carillon plugin promote {plugin}` or `abort` ends the trial"
        ),
        (Some(old), _) if old == version => "in place of another load of that version".to_owned(),
        (Some(old), _) => format!("in place of {old}"),
        (None, _) if outcome.is_new => "which is new here".to_owned(),
        (None, _) => format!("as {runs_as}"),
    };
    let mut text = format!(
        "{plugin} {version} is loaded, {before}.\nload {load}, sha256 {}; ready in {}",
        words::sha(&outcome.sha256),
        words::whole_ms(outcome.ready_ms)
    );
    if outcome.replaced.is_some() {
        // Writing to a string cannot fail.
        let drained = words::whole_ms(outcome.drained_ms);
        let _ = write!(text, ", old calls drained in {drained}");
    }
    text.push('\n');
    for note in &outcome.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> LoadOutcome {
        LoadOutcome {
            plugin: "greeter".to_owned(),
            version: "2.0.0".to_owned(),
            sha256: "ab".repeat(32),
            load: 3,
            runs_as: "active".to_owned(),
            is_new: false,
            replaced: Some("1.0.0".to_owned()),
            ready_ms: 210,
            drained_ms: 3,
            notes: vec!["it stays paused".to_owned()],
        }
    }

    #[test]
    fn a_swap_is_told_with_the_old_version_and_the_times() {
        assert_eq!(
            told(&outcome()),
            "greeter 2.0.0 is loaded, in place of 1.0.0.\n\
             load 3, sha256 abababababab; ready in 210 ms, old calls drained in 3 ms\n\
             note: it stays paused\n"
        );
    }

    #[test]
    fn a_new_plugin_and_a_shadow_are_told_as_such() {
        let new = LoadOutcome {
            is_new: true,
            replaced: None,
            ..outcome()
        };
        assert!(told(&new).contains("which is new here"), "{}", told(&new));
        assert!(!told(&new).contains("drained"), "{}", told(&new));
        let shadow = LoadOutcome {
            runs_as: "shadow".to_owned(),
            ..outcome()
        };
        assert!(
            told(&shadow).contains("as shadow beside"),
            "{}",
            told(&shadow)
        );
    }
}
