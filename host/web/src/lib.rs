//! What both web faces answer with: tokens, problem documents, paging.
//!
//! The booking API and the gateway are two services on two addresses; a client that has learnt one
//! of them should know the other. This crate holds what they share, and knows nothing about either:
//!
//! - [`tokens`]: who is calling (JWT, HS256 with a secret or a JWKS file), and [`Bearer`] for handlers;
//! - [`Problem`]: every error is an RFC 9457 problem document;
//! - [`JsonBody`], [`QueryParams`], [`PathParams`]: axum's extractors, with refusals that name the field;
//! - [`paging`]: `{"items": […], "next": cursor or null}`;
//! - [`correlation`]: one id per request, in the log, in the answer and in the events it causes;
//! - [`web_face`]: the fallbacks and layers that every router of Carillon wears.

mod bearer;
pub mod correlation;
mod extract;
mod face;
pub mod paging;
mod problem;
pub mod tokens;

pub use bearer::{Bearer, authenticate, bearer_token};
pub use correlation::CorrelationId;
pub use extract::{JsonBody, PathParams, QueryParams};
pub use face::web_face;
pub use paging::{Cursor, Limit, Page};
pub use problem::{PROBLEM_JSON, Problem};
pub use tokens::{Claims, TokenConfig, TokenConfigError, TokenError, TokenMinter, TokenVerifier};
