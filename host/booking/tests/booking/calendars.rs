//! Calendars: their addresses, what stands in them, and the invitations of events.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use sqlx::Row;

use crate::running::{Answer, Running, connect, wish};
use crate::tokens;

impl Running {
    /// A new calendar: its id and its address.
    pub(crate) async fn calendar(&self, of: &str) -> (String, String) {
        let made = self.post(&format!("/{of}/calendar"), &json!({})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        let made = made.json();
        let member = |name: &str| made[name].as_str().unwrap().to_owned();
        (member("id"), member("url"))
    }

    async fn revoke(&self, path: &str) -> Answer {
        self.send(Request::delete(path).body(Body::empty()).unwrap())
            .await
    }
}

/// The content lines of a feed, unfolded (RFC 5545, section 3.1).
pub(crate) fn lines(feed: &str) -> Vec<String> {
    assert!(feed.ends_with("END:VCALENDAR\r\n"));
    assert!(
        !feed.replace("\r\n", "").contains(['\r', '\n']),
        "bare line ends"
    );
    feed.replace("\r\n ", "")
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The values of a property, one for each event that has it.
pub(crate) fn values(feed: &str, name: &str) -> Vec<String> {
    let prefix = format!("{name}:");
    let found = lines(feed);
    found
        .iter()
        .filter_map(|line| line.strip_prefix(&prefix))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_feed_shows_bookings_under_a_stable_name_that_rises_with_their_changes() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    let (_, url) = running.calendar("users/user-1").await;
    let feed = running.get(&url).await;
    assert_eq!(feed.status, StatusCode::OK);
    assert_eq!(feed.headers["content-type"], "text/calendar; charset=utf-8");
    assert!(
        feed.headers["cache-control"]
            .to_str()
            .unwrap()
            .contains("private")
    );
    let all = lines(&feed.text);
    assert_eq!(all[0], "BEGIN:VCALENDAR");
    assert!(all.contains(&"VERSION:2.0".to_owned()));
    for (name, value) in [
        ("UID", format!("{id}@carillon").as_str()),
        ("SEQUENCE", "0"),
        ("DTSTART", "20260820T090000Z"),
        ("DTEND", "20260820T100000Z"),
        ("DTSTAMP", "20260819T100000Z"),
        ("LAST-MODIFIED", "20260819T100000Z"),
        ("STATUS", "CONFIRMED"),
        ("SUMMARY", "Team Meeting"),
        ("LOCATION", r"Aurora\, Main building"),
        ("X-WR-CALNAME", "Ada Lindqvist"),
    ] {
        assert_eq!(values(&feed.text, name), [value], "{name}");
    }
    running.clock.forward(Duration::from_secs(60));
    running.step(&id, "cancel").await;
    let mut hall = wish(9);
    hall["resourceId"] = json!("room-4");
    running.book(&hall).await;
    let feed = running.get(&url).await;
    assert_eq!(values(&feed.text, "UID")[0], format!("{id}@carillon"));
    assert_eq!(values(&feed.text, "SEQUENCE"), ["1", "0"]);
    assert_eq!(values(&feed.text, "STATUS"), ["CANCELLED", "TENTATIVE"]);
    assert_eq!(values(&feed.text, "DTSTAMP")[0], "20260819T100100Z");
    // The feed of a resource shows that resource, whoever has booked.
    let (_, url) = running.calendar("resources/room-4").await;
    let feed = running.get(&url).await;
    assert_eq!(values(&feed.text, "STATUS"), ["TENTATIVE"]);
    assert_eq!(values(&feed.text, "X-WR-CALNAME"), ["Delta Hall"]);
    assert!(!feed.text.contains("user-1") && !feed.text.contains("Ada"));
}

#[tokio::test]
async fn long_lines_are_folded_and_texts_are_escaped() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    // Letters of one byte fill a line to its last, those of more do not.
    let (one, more) = ("x".repeat(200), "äöü 老虎 ".repeat(30));
    let title = format!("Größe, Ö; \\ 老虎\nline two {one} {more}");
    sqlx::query("UPDATE bookings SET title = ? WHERE id = ?")
        .bind(&title)
        .bind(&id)
        .execute(&mut connect(running.folder.path()).await)
        .await
        .unwrap();
    let (_, url) = running.calendar("resources/room-1").await;
    let feed = running.get(&url).await.text;
    let longest = feed.split("\r\n").map(str::len).max().unwrap();
    assert_eq!(longest, 75);
    let escaped = title
        .replace('\\', r"\\")
        .replace(',', r"\,")
        .replace(';', r"\;")
        .replace('\n', r"\n");
    assert_eq!(values(&feed, "SUMMARY"), [escaped]);
}

#[tokio::test]
async fn a_feed_holds_what_is_near_and_nothing_that_was_only_held() {
    let running = Running::new().await;
    let mut database = connect(running.folder.path()).await;
    // Days from now, and a status.
    for (days, status) in [
        (-31, "checked_out"),
        (-29, "checked_out"),
        (-2, "no_show"),
        (1, "held"),
        (2, "expired"),
        (365, "confirmed"),
        (367, "confirmed"),
    ] {
        sqlx::query(
            "INSERT INTO bookings (id, resource_id, user_id, title, status, start_ms, end_ms,
                                   blocked_until_ms, attendees_count, hold_until_ms, created_ms, updated_ms)
             VALUES (?1, 'room-1', 'user-1', 't', ?2, ?3, ?3 + 1,
                     iif(?2 IN ('held', 'confirmed'), ?3 + 1, NULL), 1,
                     iif(?2 = 'held', 1, NULL), 0, 0)",
        )
        .bind(format!("b{days}"))
        .bind(status)
        .bind(crate::running::NOON_MS + days * 86_400_000)
        .execute(&mut database)
        .await
        .unwrap();
    }
    for of in ["resources/room-1", "users/user-1"] {
        let (_, url) = running.calendar(of).await;
        let feed = running.get(&url).await.text;
        assert_eq!(
            values(&feed, "UID"),
            ["b-29@carillon", "b-2@carillon", "b365@carillon"],
            "{of}"
        );
    }
}

#[tokio::test]
async fn who_has_the_feed_is_told_that_it_is_the_same() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    let (_, url) = running.calendar("users/user-1").await;
    let first = running.get(&url).await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    let ask = async |tags: &str| {
        let request = Request::get(&url)
            .header("if-none-match", tags)
            .body(Body::empty())
            .unwrap();
        running.send(request).await
    };
    for tags in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let same = ask(&tags).await;
        assert_eq!(same.status, StatusCode::NOT_MODIFIED, "{tags}");
        assert_eq!(
            (same.text.as_str(), &same.headers["etag"]),
            ("", &first.headers["etag"])
        );
        assert!(
            same.headers["cache-control"]
                .to_str()
                .unwrap()
                .contains("private")
        );
    }
    assert_eq!(ask("\"x\"").await.status, StatusCode::OK);
    running.step(&id, "cancel").await;
    let changed = ask(&tag).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_ne!(changed.headers["etag"], first.headers["etag"]);
}

#[tokio::test]
async fn the_secret_is_shown_once_and_opens_nothing_once_it_is_revoked() {
    let running = Running::new().await;
    let (id, url) = running.calendar("users/user-1").await;
    let (other_id, other) = running.calendar("users/user-1").await;
    assert_ne!(url, other);
    let secret = url
        .strip_prefix("/calendars/")
        .unwrap()
        .strip_suffix(".ics")
        .unwrap();
    assert_eq!(secret.len(), 32);
    let list = running.get("/users/user-1/calendar").await;
    assert!(!list.text.contains(secret));
    let ids: Vec<Value> = list.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|feed| feed["id"].clone())
        .collect();
    assert_eq!(ids, [json!(id), json!(other_id)]);
    // Nor does it stand in the database, its log or the record.
    for entry in std::fs::read_dir(running.folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(32).any(|window| window == secret.as_bytes()));
    }
    assert_eq!(
        running.revoke(&format!("/calendars/{id}")).await.status,
        StatusCode::NO_CONTENT
    );
    running
        .revoke(&format!("/calendars/{id}"))
        .await
        .problem(404);
    let gone = running.get(&url).await;
    gone.problem(404);
    assert!(!gone.text.contains(secret));
    assert_eq!(running.get(&other).await.status, StatusCode::OK);
    for odd in [
        "/calendars/x.ics",
        &other.replace(".ics", ""),
        &other
            .to_uppercase()
            .replace("CALENDARS", "calendars")
            .replace("ICS", "ics"),
    ] {
        running.get(odd).await.problem(404);
    }
    running
        .post("/users/nobody/calendar", &json!({}))
        .await
        .problem(404);
    running
        .get("/resources/nothing/calendar")
        .await
        .problem(404);
    let actions = sqlx::query(
        "SELECT action FROM audit WHERE subject_kind = 'feed' AND subject_id = ? ORDER BY seq",
    )
    .bind(&id)
    .fetch_all(&mut connect(running.folder.path()).await)
    .await
    .unwrap();
    let actions: Vec<String> = actions.iter().map(|row| row.get(0)).collect();
    assert_eq!(actions, ["feed.added", "feed.revoked"]);
}

#[tokio::test]
async fn the_number_of_calendars_is_bounded() {
    let running = Running::new().await;
    for _ in 0..20 {
        running.calendar("users/user-1").await;
    }
    let problem = running
        .post("/users/user-1/calendar", &json!({}))
        .await
        .problem(409);
    assert_eq!(problem["type"], "urn:carillon:problem:too-many-calendars");
    running.calendar("users/user-2").await;
}

#[tokio::test]
async fn users_have_calendars_of_their_own_and_read_them_without_a_token() {
    let running = tokens::running().await;
    let none = json!({});
    let ask = async |user: &str, method: &str, path: &str| {
        tokens::call(&running, user, method, path, &none).await
    };
    let made = ask("user-1", "POST", "/users/user-1/calendar").await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let url = made.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(running.get(&url).await.status, StatusCode::OK);
    for (method, path) in [
        ("POST", "/users/user-1/calendar"),
        ("GET", "/users/user-1/calendar"),
        ("POST", "/resources/room-1/calendar"),
        ("GET", "/resources/room-1/calendar"),
    ] {
        ask("user-2", method, path).await.problem(403);
    }
    let path = format!("/calendars/{}", made.json()["id"].as_str().unwrap());
    ask("user-2", "DELETE", &path).await.problem(404);
    let resource = ask("boss", "POST", "/resources/room-1/calendar").await;
    assert_eq!(resource.status, StatusCode::CREATED);
    let of_resource = format!("/calendars/{}", resource.json()["id"].as_str().unwrap());
    ask("user-1", "DELETE", &of_resource).await.problem(404);
    assert_eq!(
        ask("boss", "DELETE", &of_resource).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        ask("user-1", "DELETE", &path).await.status,
        StatusCode::NO_CONTENT
    );
    running.get(&url).await.problem(404);
}

#[tokio::test]
async fn events_carry_what_an_invitation_by_mail_needs() {
    let running = Running::new().await;
    let id = running.book(&wish(9)).await;
    running
        .patch(&id, "*", &json!({ "title": "Retrospective" }))
        .await;
    running.step(&id, "cancel").await;
    let other = running.book(&wish(9)).await;
    running.step(&other, "check-in").await;
    let events = running.events().await;
    let invitations: Vec<Value> = events[events.len() - 5..]
        .iter()
        .map(|event| serde_json::from_str::<Value>(event.data.get()).unwrap()["invitation"].clone())
        .collect();
    assert_eq!(
        invitations[1],
        json!({
            "method": "REQUEST", "uid": format!("{id}@carillon"), "sequence": 1,
            "summary": "Retrospective", "location": "Aurora, Main building",
            "startTime": "2026-08-20T09:00:00Z", "endTime": "2026-08-20T10:00:00Z",
            "organizer": { "name": "Aurora" },
            "attendee": {
                "id": "user-1", "name": "Ada Lindqvist", "email": "user-1@example.com",
            },
        })
    );
    assert_eq!(
        (&invitations[0]["method"], &invitations[0]["sequence"]),
        (&json!("REQUEST"), &json!(0))
    );
    assert_eq!(
        (&invitations[2]["method"], &invitations[2]["sequence"]),
        (&json!("CANCEL"), &json!(2))
    );
    assert_eq!(invitations[3]["uid"], format!("{other}@carillon"));
    assert_eq!(
        invitations[4],
        Value::Null,
        "who arrives needs no invitation"
    );
}
