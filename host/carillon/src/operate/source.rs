//! Where a plugin comes from: a file, or the URL of one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use carillon_pipeline::read_signature;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Response, Url};

use super::progress::Progress;

/// The largest file that is read or fetched. The host has a bound of its own, and says it; this
/// one keeps a wrong URL from filling the memory here.
const MAX_BYTES: u64 = 256 << 20;

/// A signature has 64 bytes; in base64, with an end of line, fewer than this.
const MAX_SIGNATURE_BYTES: u64 = 1_024;

/// How long a server may stay silent.
const SILENCE: Duration = Duration::from_secs(30);

/// The most redirects.
const MAX_REDIRECTS: usize = 10;

/// A binary with what came beside it.
pub(crate) struct Source {
    pub(crate) binary: Vec<u8>,
    /// 64 bytes of ed25519.
    pub(crate) signature: Option<Vec<u8>>,
    /// For the host's records.
    pub(crate) origin: String,
}

impl Source {
    /// Reads a file or fetches a URL, and the signature: `signature` if given, else what stands
    /// beside it under the same name with `.sig`.
    pub(crate) async fn read(what: &str, signature: Option<&Path>) -> Result<Self> {
        let mut source = match Place::parse(what)? {
            Place::File(path) => from_file(&path, signature.is_none())?,
            Place::Web(url) => from_web(&url, signature.is_none()).await?,
        };
        if let Some(path) = signature {
            source.signature = Some(signature_file(path)?);
        }
        Ok(source)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Web(Url),
}

impl Place {
    fn parse(what: &str) -> Result<Self> {
        let Some((scheme, _)) = what.split_once("://") else {
            return Ok(Self::File(PathBuf::from(what)));
        };
        let url = Url::parse(what).with_context(|| format!("{what} is no URL"))?;
        match scheme {
            "http" | "https" => Ok(Self::Web(url)),
            "file" => url.to_file_path().map(Self::File).map_err(|()| {
                anyhow!("{what} names no file of this machine: write it as file:///path")
            }),
            _ => bail!(
                "{what}: plugins are fetched from https://, http:// and file:// only; fetch it yourself and give the file"
            ),
        }
    }
}

fn from_file(path: &Path, look_beside: bool) -> Result<Source> {
    let binary = bounded_file(path, MAX_BYTES)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sig");
    let beside = PathBuf::from(beside);
    let signature = if look_beside && beside.exists() {
        Some(signature_file(&beside)?)
    } else {
        None
    };
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    Ok(Source {
        binary,
        signature,
        origin: whole.display().to_string(),
    })
}

fn signature_file(path: &Path) -> Result<Vec<u8>> {
    let bytes = bounded_file(path, MAX_SIGNATURE_BYTES)
        .with_context(|| format!("the signature {} cannot be read", path.display()))?;
    read_signature(&bytes).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn bounded_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        bail!("it is not a file");
    }
    if found.len() > limit {
        bail!("it has {} bytes, and at most {limit} are read", found.len());
    }
    Ok(std::fs::read(path)?)
}

async fn from_web(url: &Url, look_beside: bool) -> Result<Source> {
    let http = reqwest::Client::builder()
        .connect_timeout(SILENCE)
        .read_timeout(SILENCE)
        .redirect(Policy::custom(follow))
        .build()?;
    let response = http
        .get(url.clone())
        .send()
        .await
        .and_then(Response::error_for_status)
        .map_err(|error| unfetched(url, error))?;
    let binary = body(response, MAX_BYTES)
        .await
        .with_context(|| format!("{} cannot be fetched", shown(url)))?;
    let signature = if look_beside {
        signature_beside(&http, url).await?
    } else {
        None
    };
    Ok(Source {
        binary,
        signature,
        origin: shown(url),
    })
}

/// What was asked for over TLS is not taken from a server that anybody could be.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let secure = attempt.previous().iter().any(|url| url.scheme() == "https");
    if secure && attempt.url().scheme() != "https" {
        return attempt.error("it redirects from https to an address without TLS");
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("it redirects too often");
    }
    attempt.follow()
}

/// Fetches `URL.sig`. A server that has none says so with a status of 400 or above.
async fn signature_beside(http: &reqwest::Client, url: &Url) -> Result<Option<Vec<u8>>> {
    let mut beside = url.clone();
    beside.set_path(&format!("{}.sig", url.path()));
    let response = http
        .get(beside.clone())
        .send()
        .await
        .map_err(|error| unfetched(&beside, error))?;
    let status = response.status();
    if status.is_client_error() {
        return Ok(None);
    }
    if !status.is_success() {
        bail!(
            "the signature {} cannot be fetched ({status}); try again, or give it with --signature",
            shown(&beside)
        );
    }
    let bytes = body(response, MAX_SIGNATURE_BYTES)
        .await
        .with_context(|| format!("the signature {} cannot be fetched", shown(&beside)))?;
    read_signature(&bytes)
        .map(Some)
        .map_err(|error| anyhow!("{}: {error}", shown(&beside)))
}

async fn body(mut response: Response, limit: u64) -> Result<Vec<u8>> {
    let announced = response.content_length().unwrap_or(0);
    let mut progress = Progress::new("fetching");
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            bail!("it has more than {limit} bytes, which is all that is read");
        }
        progress.draw(bytes.len() as u64, announced);
    }
    Ok(bytes)
}

fn unfetched(url: &Url, error: reqwest::Error) -> anyhow::Error {
    if let Some(status) = error.status() {
        return anyhow!(
            "{} cannot be fetched: the server answers {status}",
            shown(url)
        );
    }
    // The innermost cause is the one that says something.
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    anyhow!("{} cannot be fetched: {cause}", shown(url))
}

/// The URL without what may be secret: the user's part and the query.
fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // Neither can fail for a URL with a host.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_source_is_a_file_or_a_url() {
        let file = |path: &str| Place::File(PathBuf::from(path));
        assert_eq!(Place::parse("a/b.wasm").unwrap(), file("a/b.wasm"));
        assert_eq!(
            Place::parse("file:///a/b%20c.wasm").unwrap(),
            file("/a/b c.wasm")
        );
        let web = "https://example.org/b.wasm";
        assert_eq!(Place::parse(web).unwrap(), Place::Web(web.parse().unwrap()));
        for odd in ["ftp://example.org/b.wasm", "http://", "file://host/b.wasm"] {
            assert!(Place::parse(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn what_is_secret_in_a_url_is_not_recorded() {
        let url = Url::parse("https://ada:pw@example.org/p.wasm?signature=abc#x").unwrap();
        assert_eq!(shown(&url), "https://example.org/p.wasm");
    }

    #[tokio::test]
    async fn a_signature_beside_the_file_is_taken_raw_or_as_base64() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.wasm");
        std::fs::write(&path, b"binary").unwrap();
        let what = path.to_str().unwrap();
        assert_eq!(Source::read(what, None).await.unwrap().signature, None);
        let beside = folder.path().join("p.wasm.sig");
        std::fs::write(&beside, [7; 64]).unwrap();
        let signature = Source::read(what, None).await.unwrap().signature;
        assert_eq!(signature.unwrap(), [7; 64]);
        std::fs::write(&beside, "not a signature").unwrap();
        let error = Source::read(what, None).await.err().expect("a refusal");
        assert!(error.to_string().contains("p.wasm.sig"), "{error}");
        // One that is named stands in for the one beside it.
        let named = folder.path().join("other");
        std::fs::write(&named, [8; 64]).unwrap();
        let signature = Source::read(what, Some(&named)).await.unwrap().signature;
        assert_eq!(signature.unwrap(), [8; 64]);
    }

    #[tokio::test]
    async fn what_is_no_file_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        for what in [folder.path().to_path_buf(), folder.path().join("missing")] {
            let what = what.to_str().unwrap();
            let error = Source::read(what, None).await.err().expect("a refusal");
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
