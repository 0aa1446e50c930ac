//! What each role may do, and what it may not.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use carillon_booking::{BookingConfig, Surroundings};
use carillon_web::{TokenConfig, TokenMinter, TokenVerifier};
use serde_json::{Value, json};

use crate::running::{Answer, Running, time, wish};

const SECRET: &str = "a secret of at least thirty-two bytes";

/// What checks tokens.
pub(crate) fn checking_tokens() -> Surroundings {
    let tokens = TokenConfig {
        hmac_secret: Some(SECRET.into()),
        ..TokenConfig::default()
    };
    Surroundings {
        tokens: Some(TokenVerifier::new(&tokens).unwrap()),
        ..Surroundings::default()
    }
}

/// A service with the demo's rows that asks for tokens.
pub(crate) async fn with_tokens(config: BookingConfig) -> Running {
    let config = BookingConfig {
        require_token: true,
        ..config
    };
    Running::with(config, checking_tokens()).await
}

pub(crate) fn token(user: &str, roles: &[&str]) -> String {
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    TokenMinter::new(SECRET)
        .unwrap()
        .mint(user, &[], &roles, Duration::from_secs(60))
        .unwrap()
}

/// Who asks: user-1 without a role of their own, or one of those who have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    User,
    Staff,
    Admin,
}

impl Running {
    pub(crate) async fn by(&self, role: Role, method: &str, path: &str, body: &Value) -> Answer {
        let token = match role {
            Role::User => token("user-1", &[]),
            Role::Staff => token("porter", &["staff"]),
            Role::Admin => token("boss", &["admin"]),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("if-match", "*")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.send(request).await
    }

    /// A booking of room-4, which waits for approval, for this user.
    pub(crate) async fn pending_of(&self, user: &str, hour: u32) -> String {
        let mut wanted = wish(hour);
        wanted["userId"] = json!(user);
        wanted["resourceId"] = json!("room-4");
        let made = self.by(Role::Staff, "POST", "/bookings", &wanted).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn each_role_does_what_is_its_own_and_is_refused_what_is_above_it() {
    let running = with_tokens(BookingConfig::default()).await;
    let resource = |id: &str| json!({ "id": id, "name": "X", "kind": "room", "capacity": 1 });
    let user = |id: &str| json!({ "id": id, "email": "x@example.com", "displayName": "X" });
    let closure = json!({ "startTime": time(90), "endTime": time(91), "reason": "Cleaning" });
    let confirm = format!(
        "/bookings/{}/confirm",
        running.pending_of("user-1", 9).await
    );
    // It began an hour ago.
    let no_show = {
        let mut begun = wish(12);
        begun["resourceId"] = json!("room-4");
        begun["startTime"] = json!("2026-08-19T09:00:00Z");
        begun["endTime"] = json!("2026-08-19T11:00:00Z");
        let made = running.by(Role::Staff, "POST", "/bookings", &begun).await;
        let id = made.json()["id"].as_str().unwrap().to_owned();
        running
            .by(
                Role::Staff,
                "POST",
                &format!("/bookings/{id}/confirm"),
                &json!({}),
            )
            .await;
        format!("/bookings/{id}/no-show")
    };
    let mut for_another = wish(15);
    for_another["userId"] = json!("user-2");
    let nothing = json!({});
    // In an order in which each that is done leaves the next to be done.
    for (least, method, path, body, status) in [
        (Role::User, "GET", "/resources", &nothing, 200),
        (Role::User, "GET", "/resources/room-1", &nothing, 200),
        (
            Role::User,
            "GET",
            "/resources/room-1/unavailability",
            &nothing,
            200,
        ),
        (Role::User, "GET", "/users/user-1", &nothing, 200),
        (
            Role::User,
            "PATCH",
            "/users/user-1",
            &json!({ "locale": "sv" }),
            200,
        ),
        (Role::Staff, "POST", "/bookings", &for_another, 201),
        (Role::Staff, "POST", &confirm, &nothing, 200),
        (Role::Staff, "POST", &no_show, &nothing, 200),
        (
            Role::Staff,
            "POST",
            "/resources/room-1/unavailability",
            &closure,
            201,
        ),
        (Role::Admin, "POST", "/resources", &resource("x-1"), 201),
        (
            Role::Admin,
            "PATCH",
            "/resources/x-1",
            &json!({ "capacity": 2 }),
            200,
        ),
        (Role::Admin, "DELETE", "/resources/x-1", &nothing, 200),
        (Role::Admin, "GET", "/users", &nothing, 200),
        (Role::Admin, "POST", "/users", &user("u-1"), 201),
        (Role::Admin, "GET", "/users/u-1", &nothing, 200),
        (
            Role::Admin,
            "PATCH",
            "/users/u-1",
            &json!({ "locale": "de" }),
            200,
        ),
        (Role::Admin, "DELETE", "/users/u-1", &nothing, 200),
    ] {
        for role in [Role::User, Role::Staff]
            .into_iter()
            .filter(|role| *role < least)
        {
            let problem = running.by(role, method, path, body).await.problem(403);
            let needed = format!("`{least:?}`").to_lowercase();
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(&needed), "{method} {path}: {detail}");
        }
        let done = running.by(least, method, path, body).await;
        assert_eq!(
            done.status, status,
            "{least:?} {method} {path}: {}",
            done.text
        );
    }
}

#[tokio::test]
async fn a_higher_role_may_what_a_lower_one_may() {
    let running = with_tokens(BookingConfig::default()).await;
    let id = running.pending_of("user-1", 9).await;
    let confirm = format!("/bookings/{id}/confirm");
    let confirmed = running.by(Role::Admin, "POST", &confirm, &json!({})).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text);
    let closure = json!({ "startTime": time(90), "endTime": time(91), "reason": "Cleaning" });
    let path = "/resources/room-1/unavailability";
    let made = running.by(Role::Admin, "POST", path, &closure).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let one = format!("{path}/{}", made.json()["id"].as_str().unwrap());
    running
        .by(Role::User, "DELETE", &one, &json!({}))
        .await
        .problem(403);
    let opened = running.by(Role::Staff, "DELETE", &one, &json!({})).await;
    assert_eq!(opened.status, 204, "{}", opened.text);
}

#[tokio::test]
async fn anothers_booking_is_not_there_for_a_user_and_is_for_staff() {
    let running = with_tokens(BookingConfig::default()).await;
    let id = running.pending_of("user-2", 9).await;
    let path = format!("/bookings/{id}");
    for (method, path) in [
        ("GET", path.clone()),
        ("PATCH", path.clone()),
        ("POST", format!("{path}/cancel")),
        ("POST", format!("{path}/check-in")),
    ] {
        let body = match method {
            "PATCH" => json!({ "title": "Mine" }),
            _ => json!({}),
        };
        running
            .by(Role::User, method, &path, &body)
            .await
            .problem(404);
    }
    let list = running.by(Role::User, "GET", "/bookings", &json!({})).await;
    assert_eq!(list.json()["items"], json!([]));
    let seen = running.by(Role::Staff, "GET", &path, &json!({})).await;
    assert_eq!(seen.json()["userId"], "user-2");
    let list = running
        .by(Role::Staff, "GET", "/bookings", &json!({}))
        .await;
    assert_eq!(list.json()["items"].as_array().unwrap().len(), 1);
    let cancel = format!("{path}/cancel");
    let off = running.by(Role::Staff, "POST", &cancel, &json!({})).await;
    assert_eq!(off.json()["status"], "cancelled");
}

#[tokio::test]
async fn anothers_profile_is_refused_alike_whether_it_exists_or_not() {
    let running = with_tokens(BookingConfig::default()).await;
    let patch = json!({ "displayName": "Mallory" });
    for method in ["GET", "PATCH"] {
        let other = running
            .by(Role::User, method, "/users/user-2", &patch)
            .await;
        let nobody = running
            .by(Role::User, method, "/users/user-99", &patch)
            .await;
        other.problem(403);
        assert_eq!(other.text, nobody.text);
        running
            .by(Role::Staff, method, "/users/user-2", &patch)
            .await
            .problem(403);
    }
    let boss = running
        .by(Role::Admin, "GET", "/users/user-2", &json!({}))
        .await;
    assert_eq!(boss.json()["displayName"], "Bao Nguyen");
}

#[tokio::test]
async fn a_role_that_nobody_knows_is_no_role() {
    let running = with_tokens(BookingConfig::default()).await;
    let request = Request::get("/users")
        .header(
            "authorization",
            format!("Bearer {}", token("user-1", &["Admin", "root", "service"])),
        )
        .body(Body::empty())
        .unwrap();
    running.send(request).await.problem(403);
}

#[tokio::test]
async fn the_record_names_who_did_it_with_their_role() {
    let running = with_tokens(BookingConfig::default()).await;
    let closure = json!({ "startTime": time(90), "endTime": time(91), "reason": "Cleaning" });
    running
        .by(
            Role::Staff,
            "POST",
            "/resources/room-1/unavailability",
            &closure,
        )
        .await;
    assert_eq!(
        running
            .look(
                "SELECT count(*) FROM audit
                 WHERE action = 'resource.unavailable' AND actor = 'porter' AND role = 'staff'"
            )
            .await,
        1
    );
}

#[tokio::test]
async fn what_a_user_waits_for_is_one_list_over_all_resources() {
    let running = with_tokens(BookingConfig::default()).await;
    let nothing = json!({});
    let mut joined = Vec::new();
    for (user, room, hour) in [
        ("user-1", "room-1", 9),
        ("user-2", "room-1", 10),
        ("user-1", "room-2", 9),
        ("user-1", "room-4", 9),
    ] {
        let mut taken = wish(hour);
        taken["userId"] = json!("user-3");
        taken["resourceId"] = json!(room);
        let made = running.by(Role::Staff, "POST", "/bookings", &taken).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let entry = json!({
            "userId": user, "title": "T", "startTime": time(hour), "endTime": time(hour + 1),
            "attendeesCount": 2,
        });
        let path = format!("/waitlist/{room}");
        let made = running.by(Role::Staff, "POST", &path, &entry).await;
        assert_eq!(made.status, 201, "{}", made.text);
        running.clock.forward(Duration::from_secs(1));
        joined.push(made.json()["id"].as_str().unwrap().to_owned());
    }
    let listed = async |role: Role, query: &str| -> Vec<String> {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/waitlist?limit=2{query}{cursor}");
            let page = running.by(role, "GET", &path, &nothing).await.json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2, "{page}");
            for item in items {
                assert_eq!(
                    (&item["status"], &item["position"]),
                    (&json!("waiting"), &json!(1))
                );
                seen.push(item["id"].as_str().unwrap().to_owned());
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return seen,
            }
        }
    };
    let [first, others, second, third] = &joined[..] else {
        panic!("{joined:?}");
    };
    let own = [third, second, first];
    assert_eq!(listed(Role::User, "").await.iter().collect::<Vec<_>>(), own);
    assert_eq!(
        listed(Role::User, "&user=user-1")
            .await
            .iter()
            .collect::<Vec<_>>(),
        own
    );
    assert_eq!(
        listed(Role::Staff, "&user=user-1")
            .await
            .iter()
            .collect::<Vec<_>>(),
        own
    );
    assert_eq!(
        &listed(Role::Staff, "&user=user-2").await[..],
        std::slice::from_ref(others)
    );
    assert_eq!(
        listed(Role::Staff, "").await,
        Vec::<String>::new(),
        "the porter waits for nothing"
    );
    let problem = running
        .by(Role::User, "GET", "/waitlist?user=user-2", &nothing)
        .await;
    assert!(
        problem.problem(403)["detail"]
            .to_string()
            .contains("`staff`")
    );
    // Whoever left is not in it.
    let path = format!("/waitlist/room-2/{second}");
    running.by(Role::User, "DELETE", &path, &nothing).await;
    assert_eq!(listed(Role::User, "").await, [third.clone(), first.clone()]);
}

#[tokio::test]
async fn bookings_are_listed_by_user_for_who_may_see_them() {
    let running = with_tokens(BookingConfig::default()).await;
    for (user, hour) in [("user-1", 9), ("user-2", 10), ("user-2", 11)] {
        running.pending_of(user, hour).await;
    }
    let nothing = json!({});
    for (role, query, count) in [
        (Role::User, "", 1),
        (Role::User, "?user=user-1", 1),
        (Role::Staff, "?user=user-2", 2),
        (Role::Staff, "?user=user-3", 0),
        (Role::Staff, "", 3),
    ] {
        let path = format!("/bookings{query}");
        let page = running.by(role, "GET", &path, &nothing).await.json();
        let items = page["items"].as_array().unwrap();
        assert_eq!(items.len(), count, "{role:?} {path}");
    }
    let path = "/bookings?user=user-2";
    running
        .by(Role::User, "GET", path, &nothing)
        .await
        .problem(403);
}
