//! The gateway's page in a real browser: book, see the push, find it in the inbox.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use carillon_tests::host::Setup;
use carillon_tests::node::Script;

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
