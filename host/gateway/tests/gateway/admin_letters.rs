//! Dead letters, and the story of an event.

use serde_json::{Value, json};

use crate::client::Client;
use crate::operator::Operator;

fn ids(page: &Value) -> Vec<i64> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|letter| letter["id"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn dead_letters_are_paged_shown_replayed_and_purged() {
    let operator = Operator::start().await;
    operator.load("rejecter").await;
    for number in 0..3 {
        operator.send(&format!("e{number}"), "bob").await;
    }
    let all = operator
        .eventually("dead-letters", |page| ids(page).len() == 3)
        .await;
    let mut newest_first = ids(&all);
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(ids(&all), newest_first);

    let (_, page) = operator.get("dead-letters?limit=2&plugin=rejecter").await;
    assert_eq!(ids(&page), newest_first[..2]);
    let next = page["next"].as_str().expect("there is more");
    let (_, page) = operator
        .get(&format!(
            "dead-letters?limit=2&plugin=rejecter&after={next}"
        ))
        .await;
    assert_eq!(
        (ids(&page), &page["next"]),
        (newest_first[2..].to_vec(), &Value::Null)
    );
    assert!(ids(&operator.get("dead-letters?topic=user-events").await.1).is_empty());

    let oldest = newest_first[2];
    let (_, letter) = operator.get(&format!("dead-letters/{oldest}")).await;
    assert_eq!(letter["eventId"], "e0");
    let value = letter["value"].as_str().unwrap();
    assert!(value.contains("Retrospective"), "{value}");

    let (status, replayed) = operator
        .post("dead-letters/replay", &json!({ "ids": [oldest] }))
        .await;
    assert_eq!(
        (status, &replayed["items"][0]["outcome"]),
        (200, &json!("failed")),
        "{replayed}"
    );
    operator.load("echo").await;
    let (_, replayed) = operator
        .post(
            "dead-letters/replay",
            &json!({ "ids": [oldest], "plugin": "echo" }),
        )
        .await;
    assert_eq!(replayed["items"][0]["outcome"], "handled", "{replayed}");

    for which in [
        "",
        "?ids=",
        "?ids=one",
        "?ids=1&plugin=rejecter",
        "?plugn=rejecter",
    ] {
        let (status, problem) = operator.delete(&format!("dead-letters{which}")).await;
        assert_eq!(status, 400, "{which}: {problem}");
    }
    let (_, purged) = operator.delete(&format!("dead-letters?ids={oldest}")).await;
    assert_eq!(purged, json!({ "purged": 1 }));
    let (_, purged) = operator.delete("dead-letters?plugin=rejecter").await;
    assert_eq!(purged, json!({ "purged": 2 }));
    assert!(ids(&operator.get("dead-letters").await.1).is_empty());
    operator.host.stop().await;
}

#[tokio::test]
async fn the_story_of_an_event_goes_from_the_record_to_the_socket() {
    let operator = Operator::start().await;
    operator.load("echo").await;
    let host = &operator.host;
    let (mut bob, _) = Client::connect(host, &host.token("bob", &[])).await;
    operator.send("e1", "bob").await;
    operator.send("e2", "cy").await;
    let (_, _, notification) = bob.push().await.unwrap();
    let id = notification["id"].as_str().unwrap();

    let (status, told) = operator.get(&format!("explain/{id}")).await;
    assert_eq!(
        (status, &told["subject"]),
        (200, &json!("notification")),
        "{told}"
    );
    let story = told["story"].to_string();
    assert!(
        story.contains("number 1 of the stream user:bob was pushed to 1 connection at "),
        "{story}"
    );
    assert_eq!(told["notifications"][0]["pushed"]["connections"], 1);

    let told = operator
        .eventually("explain/e2", |told| {
            told["notifications"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
        })
        .await;
    let story = told["story"].to_string();
    assert!(
        story.contains("nobody was connected when number 1 of the stream user:cy came, at "),
        "{story}"
    );

    // A place in the log has slashes.
    let (_, notification) = operator.get(&format!("explain/{id}")).await;
    let record = &notification["record"];
    let place = format!(
        "booking-events%2F{}%2F{}",
        record["partition"], record["offset"]
    );
    let (status, told) = operator.get(&format!("explain/{place}")).await;
    assert_eq!(
        (status, &told["subject"]),
        (200, &json!("record")),
        "{told}"
    );
    operator.host.stop().await;
}
