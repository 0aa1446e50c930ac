//! Which hosts are granted.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// Hosts that a plugin may send requests to: `scheme://host[:port]`. The scheme is `https` or
/// `http`, and a port that is not given is the scheme's own. A host that begins with `*.` stands
/// for all names below the rest, however many labels, and not for the rest itself.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    text: String,
    scheme: String,
    host: Host,
    port: u16,
}

#[derive(Clone, PartialEq, Eq)]
enum Host {
    Exactly(String),
    /// All names that end with this, which begins with a dot.
    Below(String),
}

/// What is wrong with a [`HostPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the pattern {pattern:?} {wrong}; write \"https://api.example.org\" or \"https://*.example.org:8443\""
)]
pub struct HostPatternError {
    pattern: String,
    wrong: &'static str,
}

impl HostPattern {
    /// Whether requests to this URL are granted by this pattern.
    pub(super) fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else {
            return false;
        };
        let host_fits = match &self.host {
            Host::Exactly(name) => host == name,
            Host::Below(end) => host.len() > end.len() && host.ends_with(end.as_str()),
        };
        host_fits && url.scheme() == self.scheme && url.port_or_known_default() == Some(self.port)
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |wrong: &'static str| HostPatternError {
            pattern: text.to_owned(),
            wrong,
        };
        let Some((scheme @ ("http" | "https"), rest)) = text.split_once("://") else {
            return Err(wrong("does not begin with https:// or http://"));
        };
        let (is_wildcard, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if rest.contains('*') {
            return Err(wrong("has a `*` that is not the whole first label"));
        }
        if rest.contains(['/', '?', '#', '@', '\\']) {
            return Err(wrong("has more than a scheme, a host and a port"));
        }
        // The parser that takes the requests' URLs apart, so that both mean the same host.
        let url = Url::parse(&format!("{scheme}://{rest}"))
            .map_err(|_| wrong("has no host that can be read"))?;
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(wrong("has no host that can be read"));
        };
        let is_address = address_in(host).is_some();
        let host = match is_wildcard {
            true if is_address => return Err(wrong("has a `*` before an address")),
            true => Host::Below(format!(".{host}")),
            false => Host::Exactly(host.to_owned()),
        };
        Ok(Self {
            text: text.to_owned(),
            scheme: scheme.to_owned(),
            host,
            port,
        })
    }
}

/// The address that a URL's host is, where it is one. URLs write those of version 6 in brackets.
pub(super) fn address_in(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

impl TryFrom<String> for HostPattern {
    type Error = HostPatternError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.text
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[track_caller]
    fn matches(pattern: &str, url: &str) -> bool {
        let pattern: HostPattern = pattern.parse().unwrap();
        pattern.matches(&Url::parse(url).unwrap())
    }

    #[test]
    fn an_exact_pattern_is_one_host_with_one_scheme_and_one_port() {
        let api = "https://api.example.org";
        assert!(matches(api, "https://api.example.org/v1/rooms?all=1"));
        assert!(matches(api, "https://API.Example.ORG:443/"));
        for other in [
            "http://api.example.org/",
            "https://api.example.org:8443/",
            "https://example.org/",
            "https://v2.api.example.org/",
            "https://api.example.org.evil.example/",
            "https://evil-api.example.org/",
            "https://api.example.org./",
        ] {
            assert!(!matches(api, other), "{other}");
        }
        assert!(matches("http://127.0.0.1:9000", "http://127.0.0.1:9000/"));
        assert!(matches("http://127.0.0.1", "http://0x7f.1/"));
        assert!(matches("http://[::1]:81", "http://[0:0:0:0:0:0:0:1]:81/"));
        assert!(matches(
            "https://bücher.example",
            "https://xn--bcher-kva.example/"
        ));
    }

    #[test]
    fn a_wildcard_is_all_names_below_and_not_the_name_itself() {
        let below = "https://*.example.com";
        assert!(matches(below, "https://a.example.com/"));
        assert!(matches(below, "https://a.b.example.com/"));
        for other in [
            "https://example.com/",
            "https://.example.com/",
            "https://evilexample.com/",
            "https://a.example.com.evil.example/",
            "http://a.example.com/",
            "https://a.example.com:444/",
        ] {
            assert!(!matches(below, other), "{other}");
        }
        assert!(matches(
            "http://*.example.com:81",
            "http://a.example.com:81/"
        ));
    }

    #[test]
    fn a_pattern_that_cannot_mean_a_host_is_refused_by_its_text() {
        for (pattern, wrong) in [
            ("api.example.org", "does not begin with https://"),
            ("ftp://example.org", "does not begin with https://"),
            ("HTTPS://example.org", "does not begin with https://"),
            ("https://", "no host"),
            ("https://*", "`*`"),
            ("https://*.", "no host"),
            ("https://a.*.org", "`*`"),
            ("https://*.*.org", "`*`"),
            ("https://a*.example.org", "`*`"),
            ("https://*.127.0.0.1", "before an address"),
            ("https://*.0.1", "before an address"),
            ("https://example.org/v1", "more than a scheme"),
            ("https://example.org?x", "more than a scheme"),
            ("https://me@example.org", "more than a scheme"),
            ("https://example.org:port", "no host"),
            ("https://exa mple.org", "no host"),
        ] {
            let sentence = pattern.parse::<HostPattern>().unwrap_err().to_string();
            assert!(sentence.contains(wrong), "{pattern}: {sentence}");
            assert!(sentence.contains(&format!("{pattern:?}")), "{sentence}");
        }
    }
}
