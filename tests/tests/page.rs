//! The gateway's page in a real browser: book, see the push, find it in the inbox; meet a conflict,
//! take an alternative, wait, be promoted, move.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;

use carillon_tests::host::Setup;
use carillon_tests::node::Script;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn somebody_books_in_the_page_and_sees_the_notification_arrive() {
    let host = Setup::run()
        .shipped_plugins()
        .argument("--demo")
        .start()
        .await
        .unwrap();
    let picture = carillon_tests::target_folder().unwrap().join("page.png");
    let _ = std::fs::remove_file(&picture);
    let gateway = host.gateway().unwrap();
    let mut browser =
        Script::start("page/book.mjs", &[&gateway, &picture.display().to_string()]).unwrap();

    let pushed = browser
        .next_event("pushed")
        .await
        .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()));
    let inbox = browser.next_event("inbox").await.unwrap();

    println!("the page shows: {}", pushed["text"]);
    assert!(
        pushed["text"].as_str().unwrap().contains("Retrospective"),
        "{pushed}"
    );
    assert!(
        inbox["text"].as_str().unwrap().contains("Retrospective"),
        "{inbox}"
    );
    assert_eq!(
        browser.next_event("errors").await.unwrap()["messages"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    assert!(
        std::fs::metadata(&picture).unwrap().len() > 10_000,
        "a picture is at {}",
        picture.display()
    );
    println!("picture: {}", picture.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_time_is_swapped_for_another_or_waited_for_until_the_turn_comes_live() {
    let host = Setup::run()
        .shipped_plugins()
        .argument("--demo")
        .start()
        .await
        .unwrap();
    let pictures = carillon_tests::target_folder().unwrap().join("page");
    let gateway = host.gateway().unwrap();
    let arguments = [&*gateway, &*pictures.display().to_string()];
    let mut browser = Script::start("page/conflict.mjs", &arguments).unwrap();
    let mut steps: HashMap<String, Value> = HashMap::new();
    while !steps.contains_key("errors") {
        let step = browser
            .next()
            .await
            .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()));
        println!("{step}");
        match step["event"].as_str().unwrap() {
            "picture" => {
                let [wide, narrow] = ["wide", "narrow"].map(|width| &step["tooWide"][width]);
                assert_eq!((wide, narrow), (&json!(0), &json!(0)), "{step}");
            }
            event => assert_eq!(steps.insert(event.to_owned(), step.clone()), None),
        }
    }

    says(&steps["booked"]["push"], &["Quarterly review"]);
    let conflict = &steps["conflict"];
    says(
        &conflict["text"],
        &["Aurora", "the time is taken", "Taken: ", "10:00"],
    );
    let alternatives = conflict["alternatives"].as_array().unwrap();
    assert!(alternatives.len() >= 4, "{conflict}");
    says(&alternatives[0], &["Aurora", "09:00", "1 h earlier"]);
    says(&steps["alternative"]["text"], &["Borealis", "10:00"]);
    assert!(
        steps["alternative"]["conflictId"].is_string(),
        "the booking says which conflict it resolves"
    );
    assert_eq!(steps["alternative"]["withdrawn"], 1, "the alert");
    says(
        &steps["alternative"]["resolved"],
        &["Instead of Aurora", "you have Borealis"],
    );
    says(&steps["waiting"]["next"], &["You are next in line"]);
    says(&steps["waiting"]["behind"], &["You are number 2 in line"]);
    says(&steps["promoted"]["push"], &["held for you until"]);
    says(&steps["promoted"]["text"], &["It is held for you until"]);
    assert_eq!(steps["promoted"]["sameDocument"], true);
    says(
        &steps["accepted"]["text"],
        &["Aurora", "10:00", "confirmed"],
    );
    says(&steps["changed"]["text"], &["Aurora", "15:00"]);
    assert!(steps["changed"]["ifMatch"].is_string(), "{steps:?}");
    assert_eq!(steps["stale"]["quicker"], 200);
    says(&steps["stale"]["text"], &["It was changed meanwhile"]);
    for text in ["text", "again"] {
        says(&steps["ended"][text], &["Try-out", "The wait has ended"]);
    }
    assert_eq!(steps["ended"]["steps"], 0, "nothing is left to be done");
    assert_eq!(
        steps["errors"]["refusals"], 4,
        "three conflicts, one stale tag"
    );
    assert_eq!(steps["errors"]["messages"], json!([]));
    println!("pictures: {}-*.png", pictures.display());
}

#[track_caller]
fn says(text: &Value, parts: &[&str]) {
    for part in parts {
        assert!(
            text.as_str().unwrap().contains(part),
            "no {part:?} in {text}"
        );
    }
}
