//! What else could be booked: only what the rules of the resource allow, and as near as they allow it.

use serde_json::{Value, json};

use crate::resources::data;
use crate::running::{Running, time, wish};

/// When room-1 could be had instead, best first.
fn at_home(alternatives: &Value) -> Vec<String> {
    let all = alternatives.as_array().unwrap();
    all.iter()
        .filter(|one| one["resourceId"] == "room-1")
        .map(|one| one["startTime"].as_str().unwrap().to_owned())
        .collect()
}

impl Running {
    /// What was suggested with the conflict that was told last.
    async fn last_suggestions(&self) -> Value {
        let events = self.events().await;
        let told = events
            .iter()
            .rev()
            .find(|event| event.kind.as_str() == "conflict.detected");
        data(told.unwrap())["suggestions"].clone()
    }
}

#[tokio::test]
async fn other_times_are_found_on_the_other_side_of_hours_at_which_it_is_closed() {
    let running = Running::new().await;
    let day = json!([{ "from": "08:00", "to": "12:00" }, { "from": "13:00", "to": "18:00" }]);
    let rules = json!({ "openingHours": { "thursday": day, "friday": day }, "bufferMinutes": 15 });
    running.rule(&rules).await;
    running.book(&wish(11)).await;
    let refused = running.post("/bookings", &wish(11)).await.problem(409);
    // Not at ten: it needs a quarter of an hour before the next one.
    assert_eq!(
        at_home(&refused["alternatives"]),
        [
            "2026-08-20T09:45:00Z",
            "2026-08-20T13:00:00Z",
            "2026-08-21T08:00:00Z"
        ]
    );
}

#[tokio::test]
async fn who_is_closed_out_is_shown_what_may_still_be_booked_in_time() {
    let running = Running::new().await;
    running.book(&wish(9)).await;
    // From Wednesday at ten on: Thursday at noon is the first that may still be booked.
    running.rule(&json!({ "minLeadMinutes": 26 * 60 })).await;
    running.close(9, 10).await;
    assert_eq!(at_home(&running.last_suggestions().await), [time(12)]);
}

#[tokio::test]
async fn the_time_that_a_booking_has_does_not_stand_in_its_own_way() {
    let running = Running::new().await;
    let mut long = wish(9);
    long["endTime"] = json!(time(11));
    let id = running.book(&long).await;
    running.book(&wish(11)).await;
    let longer = json!({ "endTime": time(12) });
    let refused = running.patch(&id, "*", &longer).await.problem(409);
    assert_eq!(at_home(&refused["alternatives"]), [time(8), time(12)]);
    // And what it has is no alternative to it.
    let away = json!({ "startTime": time(10), "endTime": time(12) });
    let refused = running.patch(&id, "*", &away).await.problem(409);
    assert_eq!(at_home(&refused["alternatives"]), [time(12)]);

    running.close(10, 11).await;
    assert_eq!(
        at_home(&running.last_suggestions().await),
        [time(8), time(12)]
    );
}

#[tokio::test]
async fn another_room_needs_its_own_time_after_a_booking_and_is_open_at_its_own_hours() {
    let running = Running::new().await;
    running
        .execute(r#"UPDATE resources SET rules = '{"bufferMinutes": 60}' WHERE id = 'room-2'"#)
        .await;
    running
        .execute(
            r#"UPDATE resources SET rules = '{"openingHours": {"friday": [{"from": "00:00", "to": "24:00"}]}}'
               WHERE id = 'room-3'"#,
        )
        .await;
    let mut other = wish(10);
    other["resourceId"] = json!("room-2");
    running.book(&other).await;
    running.book(&wish(9)).await;
    let rooms = async |hour: u32| -> Vec<Value> {
        let refused = running.post("/bookings", &wish(hour)).await.problem(409);
        let all = refused["alternatives"].as_array().unwrap().clone();
        let rooms = all.iter().map(|one| one["resourceId"].clone());
        rooms.filter(|id| id != "room-1").collect()
    };
    // From ten on somebody is in room-2.
    assert_eq!(rooms(9).await, ["room-4"]);
    running.book(&wish(7)).await;
    assert_eq!(rooms(7).await, ["room-2", "room-4"]);
    running
        .post(
            "/resources/room-4/unavailability",
            &json!({ "startTime": time(6), "endTime": time(8), "reason": "painted" }),
        )
        .await;
    assert_eq!(rooms(7).await, ["room-2"]);
}

#[tokio::test]
async fn a_closing_suggests_to_the_first_it_concerns_and_tells_the_others() {
    let running = Running::new().await;
    for hour in 0..25 {
        running.book(&wish(hour)).await;
    }
    running.close(0, 25).await;
    let events = running.events().await;
    let told: Vec<usize> = events
        .iter()
        .filter(|event| event.kind.as_str() == "conflict.detected")
        .map(|event| data(event)["suggestions"].as_array().unwrap().len())
        .collect();
    assert_eq!(told.len(), 25);
    assert!(told[..20].iter().all(|count| *count > 0), "{told:?}");
    assert!(told[20..].iter().all(|count| *count == 0), "{told:?}");
}
