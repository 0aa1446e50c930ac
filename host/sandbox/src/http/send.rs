//! The function `send` of the interface.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use wasmtime::Result;

use super::access::{Access, origin};
use super::exchange::exchange;
use super::outgoing::{Outgoing, failed};
use crate::bindings::carillon::plugin::http::{Error, Host, Request, Response};
use crate::bindings::carillon::plugin::log::Level;
use crate::guest::Guest;
use crate::session::Egress;

/// An exchange ends by itself when its time is over; one whose runtime is gone is not waited for
/// much longer.
const GRACE: Duration = Duration::from_secs(1);

type Outcome = std::result::Result<Response, Error>;

impl Host for Guest {
    fn send(&mut self, request: Request) -> Result<Outcome> {
        self.refuse_in_describe("http")?;
        self.lifted(lifted_bytes(&request));
        let began = Instant::now();
        let host = reqwest::Url::parse(&request.url).map_or(String::new(), |url| origin(&url));
        let outcome = self.requested(request);
        let took = began.elapsed();
        self.waited_for_http(took);
        self.tell(&host, &outcome, took);
        Ok(outcome)
    }
}

impl Guest {
    fn requested(&mut self, request: Request) -> Outcome {
        let Some(access) = self.tenant.http.clone() else {
            return Err(Error::NotGranted("no host is granted".to_owned()));
        };
        if self.egress == Egress::Closed {
            return Err(failed(
                "not sent: in shadow, dry run and replay nothing leaves the host".to_owned(),
            ));
        }
        if self.http_requests >= access.grant.max_requests {
            return Err(failed(format!(
                "not sent: one event may cause {} requests",
                access.grant.max_requests
            )));
        }
        self.http_requests += 1;
        let time = self.time_for(&request, &access);
        if time.is_zero() {
            return Err(Error::Timeout);
        }
        let outgoing = Outgoing::new(request, &access)?;
        wait_for(access, outgoing, time)
    }

    /// The shortest of what the guest, the operator and the event's budget leave.
    fn time_for(&self, request: &Request, access: &Access) -> Duration {
        let budget = Duration::from_millis(access.grant.budget_ms);
        let asked = request.timeout.map_or(Duration::MAX, Duration::from_millis);
        asked
            .min(Duration::from_millis(access.grant.timeout_ms))
            .min(budget.saturating_sub(self.http_time))
    }

    fn tell(&mut self, host: &str, outcome: &Outcome, took: Duration) {
        let (plugin, event) = (&*self.tenant.name, self.event_id.as_str());
        metrics::counter!("carillon_plugin_http_requests_total", "plugin" => plugin.to_owned(), "outcome" => name(outcome))
            .increment(1);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match outcome {
            Ok(response) => {
                let status = response.status;
                tracing::debug!(
                    plugin,
                    event,
                    host,
                    status,
                    took_ms,
                    "a request was answered"
                );
            }
            // The operator may have meant to grant it, or the plugin is up to something.
            Err(Error::NotGranted(reason)) => {
                self.note(Level::Warn, &format!("http: not granted: {reason}"));
            }
            Err(error) => {
                let reason = words(error);
                tracing::debug!(plugin, event, host, reason, took_ms, "a request failed");
            }
        }
    }
}

fn lifted_bytes(request: &Request) -> usize {
    let headers = request.headers.iter().map(|h| h.name.len() + h.value.len());
    let fields: usize = headers.sum();
    request.method.len() + request.url.len() + fields + request.body.len()
}

/// Waits on this thread for an exchange on the runtime's.
fn wait_for(access: Arc<Access>, outgoing: Outgoing, time: Duration) -> Outcome {
    let (done, outcome) = mpsc::sync_channel(1);
    let runtime = access.runtime.clone();
    let task = runtime.spawn(async move {
        let exchanged = tokio::time::timeout(time, exchange(access, outgoing)).await;
        // Nobody listens any more when the grace is over.
        let _ = done.send(exchanged.unwrap_or(Err(Error::Timeout)));
    });
    match outcome.recv_timeout(time + GRACE) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => {
            task.abort();
            Err(Error::Timeout)
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(failed("the host is about to stop".to_owned()))
        }
    }
}

/// For metrics.
fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Ok(_) => "answered",
        Err(Error::NotGranted(_)) => "not-granted",
        Err(Error::Timeout) => "timeout",
        Err(Error::TooLarge) => "too-large",
        Err(Error::Failed(_)) => "failed",
    }
}

fn words(error: &Error) -> &str {
    match error {
        Error::NotGranted(reason) | Error::Failed(reason) => reason,
        Error::Timeout => "it took too long",
        Error::TooLarge => "the response is too large",
    }
}
