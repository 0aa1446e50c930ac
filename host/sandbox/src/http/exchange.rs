//! From a request to its response, over all redirects.

use std::error::Error as _;
use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::LOCATION;

use super::access::Access;
use super::outgoing::{Outgoing, failed};
use super::resolver::AddressRefused;
use crate::bindings::carillon::plugin::http::{Error, Header, Response};

/// The header fields of a response, names and values, in bytes.
const MAX_RESPONSE_HEADER_BYTES: usize = 32 << 10;

/// Sends a request that was checked. Whoever calls this bounds its time.
pub(super) async fn exchange(
    access: Arc<Access>,
    mut outgoing: Outgoing,
) -> Result<Response, Error> {
    let mut redirects = 0;
    loop {
        let response = send(&access, &outgoing).await?;
        let status = response.status();
        let location = response.headers().get(LOCATION);
        let Some(location) = location.filter(|_| is_redirect(status)) else {
            return received(response, access.grant.max_response_bytes).await;
        };
        if redirects == access.grant.max_redirects {
            return Err(failed(format!("there are more than {redirects} redirects")));
        }
        redirects += 1;
        outgoing = outgoing.redirected(status, location.as_bytes())?;
        access.check(&outgoing.url)?;
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

async fn send(access: &Access, outgoing: &Outgoing) -> Result<reqwest::Response, Error> {
    let request = access
        .client
        .request(outgoing.method.clone(), outgoing.url.clone())
        .headers(outgoing.headers.clone())
        .body(outgoing.body.clone());
    request.send().await.map_err(told)
}

/// Reads a response, up to its limit and no further.
async fn received(mut response: reqwest::Response, max_bytes: usize) -> Result<Response, Error> {
    let status = response.status().as_u16();
    let headers: Vec<Header> = response
        .headers()
        .iter()
        .map(|(name, value)| Header {
            name: name.as_str().to_owned(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        })
        .collect();
    let header_bytes: usize = headers.iter().map(|h| h.name.len() + h.value.len()).sum();
    let announced = response.content_length().unwrap_or(0);
    if header_bytes > MAX_RESPONSE_HEADER_BYTES || announced > max_bytes as u64 {
        return Err(Error::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(Error::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response {
        status,
        headers,
        body,
    })
}

/// The client's error in the guest's words, without the URL, whose query may be nobody's business.
fn told(error: reqwest::Error) -> Error {
    let error = error.without_url();
    let mut reasons = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<AddressRefused>() {
            return Error::NotGranted(refused.to_string());
        }
        reasons.push(cause.to_string());
        source = cause.source();
    }
    reasons.dedup();
    failed(reasons.join(": "))
}
