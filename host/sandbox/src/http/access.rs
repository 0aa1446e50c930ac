//! One plugin's way out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url, redirect};
use tokio::runtime::Handle;

use super::HttpRuntime;
use super::addresses::why_not;
use super::grant::HttpGrant;
use super::pattern::address_in;
use super::resolver::{CheckedResolver, sentence};
use crate::bindings::carillon::plugin::http::Error;
use crate::refusal::Refusal;

/// Idle connections to one host that are kept for the next request.
const MAX_IDLE_CONNECTIONS: usize = 2;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// The grant, made ready to be used. Each plugin has a client of its own, or it could use
/// connections that were dialled under another's grant.
pub(crate) struct Access {
    plugin: Arc<str>,
    pub(super) grant: HttpGrant,
    pub(super) secrets: HashMap<String, String>,
    pub(super) client: Client,
    pub(super) runtime: Handle,
}

impl Access {
    /// Makes a grant ready for a plugin that imports `http`.
    ///
    /// # Errors
    /// When nothing is granted, a secret cannot be read, or no client can be made.
    pub(crate) fn new(
        plugin: &Arc<str>,
        grant: &HttpGrant,
        runtime: &HttpRuntime,
    ) -> Result<Self, Refusal> {
        if grant.allow.is_empty() {
            return Err(Refusal::NoHosts {
                plugin: plugin.to_string(),
            });
        }
        let failed = |reason: String| Refusal::Http {
            plugin: plugin.to_string(),
            reason,
        };
        let secrets = grant.secrets.iter().map(|(name, source)| {
            let secret = source.read().map_err(|reason| Refusal::Secret {
                plugin: plugin.to_string(),
                name: name.clone(),
                reason,
            })?;
            Ok((name.clone(), secret))
        });
        let secrets = secrets.collect::<Result<_, Refusal>>()?;
        let (runtime, lookup) = runtime.start().map_err(failed)?;
        let resolver = CheckedResolver {
            plugin: Arc::clone(plugin),
            lookup,
            granted: grant.addresses.clone().into(),
        };
        let client = Client::builder()
            .user_agent(concat!("carillon/", env!("CARGO_PKG_VERSION")))
            // A proxy would dial for us, unchecked.
            .no_proxy()
            // Each hop is checked before it is taken.
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(resolver))
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            plugin: Arc::clone(plugin),
            grant: grant.clone(),
            secrets,
            client,
            runtime,
        })
    }

    /// Whether a URL may be requested: its host is granted, and if it is an address, that as well.
    /// The addresses of names are checked when they are dialled.
    pub(super) fn check(&self, url: &Url) -> Result<(), Error> {
        if !self.grant.allow.iter().any(|pattern| pattern.matches(url)) {
            return Err(Error::NotGranted(format!(
                "{} is not among the hosts in [plugins.{}.http] allow",
                origin(url),
                self.plugin
            )));
        }
        let address = url.host_str().and_then(address_in);
        if let Some(address) = address
            && let Some(why) = why_not(address, &self.grant.addresses)
        {
            let host = url.host_str().unwrap_or_default();
            return Err(Error::NotGranted(sentence(
                &self.plugin,
                host,
                address,
                why,
            )));
        }
        Ok(())
    }
}

/// Scheme, host and port, for texts.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}
