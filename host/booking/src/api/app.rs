//! What handlers share.

use std::sync::Arc;

use carillon_web::TokenVerifier;
use metrics_exporter_prometheus::PrometheusHandle;

use super::limit::Limits;
use super::numbers::PageSize;
use crate::service::Booking;

/// A page of a list has 50 items unless asked otherwise, and 200 at most.
pub(super) type ListSize = PageSize<50, 200>;

/// What handlers share.
#[derive(Clone)]
pub(super) struct App(pub(super) Arc<AppParts>);

pub(super) struct AppParts {
    pub(super) booking: Booking,
    /// Checks tokens; there where callers need one.
    pub(super) tokens: Option<TokenVerifier>,
    /// There if callers may not ask as often as they like.
    pub(super) limits: Option<Limits>,
    pub(super) metrics: Option<PrometheusHandle>,
}
