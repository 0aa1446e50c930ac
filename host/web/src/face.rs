//! The fallbacks and layers that every router of Carillon wears.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use crate::correlation::correlate;
use crate::problem::Problem;

/// Dresses a finished router: paths and methods that do not exist answer with problem documents, a
/// panic becomes a 500 and a log line instead of a broken connection, and every request has a
/// correlation id. Call it last, when all routes are there.
pub fn web_face<S>(router: Router<S>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn(survive_panics))
        .layer(middleware::from_fn(correlate))
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("There is nothing at {}.", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "{} does not take {method}; the Allow header lists what it takes.",
            uri.path()
        ),
    )
}

async fn survive_panics(request: Request, next: Next) -> Response {
    // Nothing of the request is looked at again after a panic, so no broken state can be seen.
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => Problem::internal(format!("a handler panicked: {}", panic_text(&*panic)))
            .into_response(),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "no message"
    }
}
