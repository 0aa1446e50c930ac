//! `GET /`: a page to try it all, with what it needs to know.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use carillon_web::{JsonBody, PathParams, Problem};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::gateway::{AppState, Shared};

/// How long a token of the page lasts. It gets another one in time.
const TOKEN_TTL: Duration = Duration::from_secs(3600);

const PAGE: &str = include_str!("../page/index.html");

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What the page loads: name, media type, content.
const FILES: [(&str, &str, &str); 9] = [
    ("style.css", STYLE, include_str!("../page/style.css")),
    ("app.js", SCRIPT, include_str!("../page/app.js")),
    ("bookings.js", SCRIPT, include_str!("../page/bookings.js")),
    ("conflict.js", SCRIPT, include_str!("../page/conflict.js")),
    ("elements.js", SCRIPT, include_str!("../page/elements.js")),
    ("protocol.js", SCRIPT, include_str!("../page/protocol.js")),
    ("resources.js", SCRIPT, include_str!("../page/resources.js")),
    ("session.js", SCRIPT, include_str!("../page/session.js")),
    ("waiting.js", SCRIPT, include_str!("../page/waiting.js")),
];

/// `GET /`.
pub(crate) async fn page(State(AppState(shared)): State<AppState>) -> impl IntoResponse {
    (
        page_headers(&shared),
        asset(PAGE, "text/html; charset=utf-8"),
    )
}

/// `GET /page/{file}`.
pub(crate) async fn file(
    PathParams(name): PathParams<String>,
) -> Result<impl IntoResponse, Problem> {
    let found = FILES.iter().find(|(known, _, _)| *known == name);
    found
        .map(|(_, media_type, content)| asset(content, media_type))
        .ok_or_else(|| Problem::not_found(format!("The page has no file {name:?}.")))
}

/// The files change with the binary: a browser asks again each time.
fn asset(content: &'static str, media_type: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, content)
}

/// The page talks to this server and to the booking API, and to nobody else.
fn page_headers(shared: &Shared) -> HeaderMap {
    let policy = format!(
        "default-src 'self'; img-src data:; connect-src 'self' ws: wss: {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        shared.config.booking_url(),
    );
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, value);
    }
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers
}

/// `GET /demo/config`: what the page needs to know.
pub(crate) async fn config(State(AppState(shared)): State<AppState>) -> Json<Value> {
    let config = &shared.config;
    let users: &[String] = if shared.demo_minter().is_some() {
        &config.demo_users
    } else {
        &[]
    };
    Json(
        json!({ "bookingUrl": config.booking_url(), "users": users, "resources": config.demo_resources }),
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRequest {
    user: String,
}

/// `POST /demo/token`: a token for one of the demonstration users.
pub(crate) async fn token(
    State(AppState(shared)): State<AppState>,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Result<Json<Value>, Problem> {
    let Some(minter) = shared.demo_minter() else {
        return Err(Problem::not_found(
            "Tokens are given out here only for a demonstration (`--demo`); make one with `carillon token --user …`.",
        )
        .with_code("demo-off"));
    };
    if !shared.config.demo_users.contains(&request.user) {
        let detail = format!(
            "{:?} is no demonstration user; they are {}.",
            request.user,
            shared.config.demo_users.join(", ")
        );
        return Err(Problem::forbidden(detail).with_code("no-demo-user"));
    }
    let token = minter
        .mint(&request.user, &shared.config.demo_groups, &[], TOKEN_TTL)
        .map_err(Problem::internal)?;
    Ok(Json(
        json!({ "user": request.user, "token": token, "expiresInSeconds": TOKEN_TTL.as_secs() }),
    ))
}
