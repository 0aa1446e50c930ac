//! A router dressed by `web_face`, driven in the process.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Json;
use axum::routing::{get, post};
use carillon_web::{
    Bearer, CorrelationId, Cursor, JsonBody, Limit, PathParams, QueryParams, TokenConfig,
    TokenMinter, TokenVerifier, web_face,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;

const SECRET: &str = "a secret of at least thirty-two bytes";

#[derive(Clone)]
struct App {
    verifier: TokenVerifier,
}

impl FromRef<App> for TokenVerifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    limit: Limit<50, 100>,
    cursor: Option<Cursor<(i64, String)>>,
}

fn router() -> Router {
    let verifier = TokenVerifier::new(&TokenConfig {
        hmac_secret: Some(SECRET.into()),
        ..TokenConfig::default()
    })
    .unwrap();
    let routes = Router::new()
        .route("/who", get(async |Bearer(claims): Bearer| claims.user))
        .route(
            "/maybe",
            get(async |caller: Option<Bearer>| match caller {
                Some(Bearer(claims)) => claims.user,
                None => "nobody".to_owned(),
            }),
        )
        .route(
            "/correlation",
            get(async |id: CorrelationId| id.to_string()),
        )
        .route(
            "/list",
            get(async |QueryParams(listing): QueryParams<Listing>| {
                Json(json!([
                    listing.limit.get(),
                    listing.cursor.map(|cursor| cursor.0)
                ]))
            }),
        )
        .route(
            "/number/{number}",
            get(async |PathParams(number): PathParams<u32>| number.to_string()),
        )
        .route(
            "/echo",
            post(async |JsonBody(body): JsonBody<Value>| Json(body)),
        )
        .route(
            "/perhaps",
            post(async |body: Option<JsonBody<Value>>| Json(body.map(|JsonBody(body)| body))),
        )
        .route("/panic", get(panics))
        .layer(DefaultBodyLimit::max(100));
    web_face(routes).with_state(App { verifier })
}

async fn panics() -> &'static str {
    if std::hint::black_box(true) {
        panic!("the secret of the handler");
    }
    "never"
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    /// The body, which has to be a problem document with the status of the response.
    fn problem(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let document: Value = serde_json::from_str(&self.text).unwrap();
        assert_eq!(document["status"], self.status.as_u16());
        assert!(
            document["detail"].as_str().unwrap().ends_with('.'),
            "{document}"
        );
        document
    }
}

async fn send(request: Request<Body>) -> Answer {
    let (parts, body) = router().oneshot(request).await.unwrap().into_parts();
    let text = to_bytes(body, 1 << 20).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(text.to_vec()).unwrap(),
    }
}

async fn get_path(path: &str) -> Answer {
    send(Request::get(path).body(Body::empty()).unwrap()).await
}

async fn post_json(body: &str) -> Answer {
    send(
        Request::post("/echo")
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap(),
    )
    .await
}

async fn get_with(path: &str, header: &str, value: &str) -> Answer {
    send(
        Request::get(path)
            .header(header, value)
            .body(Body::empty())
            .unwrap(),
    )
    .await
}

#[tokio::test]
async fn an_unknown_path_answers_a_problem() {
    let answer = get_path("/nowhere").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.problem()["detail"].to_string().contains("/nowhere"));
    assert!(answer.headers.contains_key("x-correlation-id"));
}

#[tokio::test]
async fn a_wrong_method_answers_a_problem_and_says_what_is_allowed() {
    let answer = send(Request::delete("/echo").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    answer.problem();
    assert_eq!(answer.headers["allow"], "POST");
}

#[tokio::test]
async fn a_panic_answers_a_problem_that_keeps_the_reason_to_itself() {
    let answer = get_path("/panic").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.problem().to_string().contains("secret"));
}

#[tokio::test]
async fn a_body_that_does_not_fit_answers_a_problem() {
    assert_eq!(post_json(r#"{"a": 1}"#).await.text, r#"{"a":1}"#);
    let broken = post_json("{").await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert_eq!(broken.problem()["line"], 1);
    let large = post_json(&format!("\"{}\"", "x".repeat(200))).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    large.problem();
    let untyped = send(Request::post("/echo").body(Body::from("{}")).unwrap()).await;
    assert_eq!(untyped.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    untyped.problem();
}

#[tokio::test]
async fn a_body_that_may_be_missing_is_checked_when_it_is_there() {
    let post = async |body: &str| {
        let request = Request::post("/perhaps").header("content-type", "application/json");
        send(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    assert_eq!(post("").await.text, "null");
    assert_eq!(post(r#"{"a": 1}"#).await.text, r#"{"a":1}"#);
    assert_eq!(post("{").await.problem()["line"], 1);
}

#[tokio::test]
async fn query_and_path_are_checked_and_the_parameter_is_named() {
    assert_eq!(get_path("/list").await.text, "[50,null]");
    let cursor = Cursor((3_i64, "b".to_owned())).to_string();
    let answer = get_path(&format!("/list?limit=7&cursor={cursor}")).await;
    assert_eq!(answer.text, r#"[7,[3,"b"]]"#);
    let other_list = Cursor("b").to_string();
    for (query, status, expected) in [
        ("limit=0", 400, "limit: `0` is no page size"),
        ("limit=101", 400, "from 1 to 100"),
        ("cursor=abc", 400, "cursor: a cursor has"),
        (
            &format!("cursor={other_list}"),
            422,
            "cursor: the cursor is not",
        ),
    ] {
        let answer = get_path(&format!("/list?{query}")).await;
        assert_eq!(answer.status, status, "{query}");
        let problem = answer.problem();
        let detail = problem["detail"].to_string();
        assert!(detail.contains(expected), "{detail}");
        let field = query.split_once('=').unwrap().0;
        assert_eq!(problem["field"], field);
    }
    let answer = get_path("/number/one").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    answer.problem();
}

#[tokio::test]
async fn a_correlation_id_is_kept_or_made() {
    let kept = get_with("/correlation", "x-correlation-id", "req-456").await;
    assert_eq!(kept.text, "req-456");
    assert_eq!(kept.headers["x-correlation-id"], "req-456");
    for odd in ["two words", &"x".repeat(200)] {
        let made = get_with("/correlation", "x-correlation-id", odd).await;
        assert_eq!(made.headers["x-correlation-id"], made.text);
        assert_eq!(made.text.len(), 36, "{}", made.text);
    }
}

#[tokio::test]
async fn a_handler_that_wants_a_token_gets_the_caller_or_answers_401() {
    let token = TokenMinter::new(SECRET)
        .unwrap()
        .mint("user-1", &[], &[], Duration::from_secs(60))
        .unwrap();
    for scheme in ["Bearer", "bearer"] {
        let value = format!("{scheme} {token}");
        assert_eq!(
            get_with("/who", "authorization", &value).await.text,
            "user-1"
        );
        assert_eq!(
            get_with("/maybe", "authorization", &value).await.text,
            "user-1"
        );
    }
    assert_eq!(get_path("/maybe").await.text, "nobody");
    let without = get_path("/who").await;
    assert_eq!(without.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        without.headers["www-authenticate"],
        "Bearer realm=\"carillon\""
    );
    without.problem();
    for path in ["/who", "/maybe"] {
        for value in ["Bearer nonsense", "Basic dTpw", "Bearer "] {
            let answer = get_with(path, "authorization", value).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{value}");
            assert!(
                answer.headers["www-authenticate"]
                    .to_str()
                    .unwrap()
                    .contains("error=\"invalid_"),
                "{value}"
            );
            answer.problem();
        }
    }
}
