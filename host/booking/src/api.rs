//! The HTTP face of the service.

mod analytics;
mod app;
mod audit;
mod availability;
mod booking_body;
mod bookings;
mod calendars;
mod caller;
mod cross_origin;
mod etag;
mod faults;
mod form;
mod health;
mod limit;
mod links;
mod location;
mod master;
mod measure;
mod numbers;
mod openapi;
mod profile_body;
mod refusals;
mod removal;
mod request_key;
mod resource_body;
mod resources;
mod rules_body;
mod scoped;
mod series;
mod series_body;
mod texts;
mod unavailability;
mod users;
mod waitlist;
mod waitlist_body;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::get;
use carillon_web::{TokenVerifier, web_face};
use metrics_exporter_prometheus::PrometheusHandle;
use utoipa_axum::router::OpenApiRouter;

use self::app::{App, AppParts};
use self::limit::Limits;
use crate::recorder::Recorder;
use crate::service::Booking;

/// Largest body that is read, in bytes. A booking has a few hundred.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// What the API needs from the process it runs in.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// Checks bearer tokens; needed with `require_token`. Without that a token says who calls, and
    /// whoever has none may do as much.
    pub tokens: Option<TokenVerifier>,
    /// What `/metrics` shows; without it the path does not exist.
    pub metrics: Option<PrometheusHandle>,
}

/// Why the API cannot be served as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum SurroundingsError {
    /// `require_token` is on and there is nothing to check tokens with.
    #[error(
        "[booking_service] require_token is on, but no tokens are configured: set a secret or a key file, or turn it off"
    )]
    NoTokens,
}

/// Everything that has a place in the document, with its description.
fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::begun())
        .merge(bookings::routes())
        .merge(resources::routes())
        .merge(unavailability::routes())
        .merge(users::routes())
        .merge(waitlist::routes())
        .merge(series::routes())
        .merge(availability::routes())
        .merge(calendars::routes())
        .merge(audit::routes())
        .merge(analytics::routes())
        .merge(health::routes())
}

impl Booking {
    /// The HTTP API.
    ///
    /// # Errors
    /// [`SurroundingsError`] when the configuration asks for something that is not handed in.
    pub fn router(&self, surroundings: Surroundings) -> Result<Router, SurroundingsError> {
        let config = &self.parts().config;
        if config.require_token && surroundings.tokens.is_none() {
            return Err(SurroundingsError::NoTokens);
        }
        let cross_origin = cross_origin::layer(&config.allowed_origins);

        let (routes, document) = described().split_for_parts();
        let mut routes = routes.merge(openapi::served(document, config.require_token));
        if surroundings.metrics.is_some() {
            routes = routes.route("/metrics", get(health::metrics));
        }
        if config.analytics {
            let recorder = Recorder::start(self.clone());
            routes =
                routes.route_layer(middleware::from_fn_with_state(recorder, analytics::record));
        }
        let limits = Limits::new(config, &self.parts().clock);
        let app = App(Arc::new(AppParts {
            booking: self.clone(),
            tokens: surroundings.tokens,
            limits,
            metrics: surroundings.metrics,
        }));
        let routes = routes
            .route_layer(middleware::from_fn_with_state(app.clone(), limit::limit))
            .route_layer(middleware::from_fn(measure::measure))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
        Ok(web_face(routes).layer(cross_origin).with_state(app))
    }
}
