//! The document that the API publishes of itself.

use std::collections::HashSet;

use axum::http::StatusCode;
use serde_json::json;

use crate::running::Running;
use crate::tokens;

#[tokio::test]
async fn the_api_says_what_it_takes_and_which_refusals_no_schema_can_avoid() {
    let running = Running::new().await;
    let document = running.get("/openapi.json").await.json();
    let list = &document["paths"]["/bookings"]["get"];
    let parameter = |name: &str| {
        let parameters = list["parameters"].as_array().unwrap();
        let found = parameters.iter().find(|one| one["name"] == name).unwrap();
        &found["schema"]
    };
    assert_eq!(
        parameter("limit"),
        &json!({ "type": "integer", "minimum": 1, "maximum": 200, "default": 50 })
    );
    assert_eq!(parameter("cursor")["minLength"], 12);
    assert_eq!(parameter("from")["$ref"], "#/components/schemas/Time");
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Title"]["maxLength"], 200);
    assert_eq!(schemas["Time"]["format"], "date-time");
    let announced = |path: &str, method: &str| -> Vec<String> {
        let responses = &document["paths"][path][method]["responses"];
        let statuses = responses.as_object().unwrap().keys();
        statuses
            .filter(|status| status.starts_with('4'))
            .cloned()
            .collect()
    };
    assert_eq!(announced("/bookings", "get"), ["422"]);
    assert_eq!(announced("/bookings", "post"), ["422"]);
    assert_eq!(announced("/bookings/{id}", "get"), Vec::<String>::new());
    assert_eq!(announced("/bookings/{id}", "patch"), ["412", "422", "428"]);
    assert_eq!(announced("/bookings/{id}/confirm", "post"), ["412"]);
    assert_eq!(announced("/users/{id}", "delete"), ["412", "428"]);
}

#[tokio::test]
async fn the_api_describes_itself_whole_and_can_be_tried() {
    let running = Running::new().await;
    let document = running.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/bookings",
        "/bookings/{id}",
        "/bookings/{id}/check-in",
        "/audit/export",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    let mut names = HashSet::new();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            let problem = &operation["responses"]["default"]["content"]["application/problem+json"];
            assert_eq!(
                problem["schema"]["$ref"], "#/components/schemas/Problem",
                "{method} {path}"
            );
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} is there twice");
        }
    }
    let booking = &document["components"]["schemas"]["BookingRecord"]["properties"];
    assert_eq!(booking["startTime"]["format"], "date-time");
    assert_eq!(booking["version"]["type"], "integer");
    let body = &document["components"]["schemas"]["BookingBody"];
    assert_eq!(body["additionalProperties"], false);
    // Where nobody needs a token, none is asked for.
    assert_eq!(document["security"], json!([{ "bearer": [] }, {}]));
    let page = running.get("/docs/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("swagger"), "{}", page.text);
}

#[tokio::test]
async fn what_is_made_says_what_can_be_done_with_it() {
    let running = Running::new().await;
    let document = running.get("/openapi.json").await.json();
    let operations = || {
        let paths = document["paths"].as_object().unwrap().values();
        paths.flat_map(|path| path.as_object().unwrap().values())
    };
    let mut told = Vec::new();
    for operation in operations() {
        let links = operation["responses"]["201"]["links"].as_object();
        for link in links.into_iter().flat_map(|links| links.values()) {
            let target = operations()
                .find(|target| target["operationId"] == link["operationId"])
                .unwrap_or_else(|| panic!("{link} leads nowhere"));
            // It gives all that the path needs, and nothing that it does not take.
            let mut needed: Vec<&str> = target["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            needed.sort_unstable();
            let given = link["parameters"].as_object().unwrap();
            assert_eq!(given.keys().collect::<Vec<_>>(), needed, "{link}");
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            told.push((text(&operation["operationId"]), text(&link["operationId"])));
        }
    }
    let told: Vec<(&str, &str)> = told.iter().map(|(from, to)| (&**from, &**to)).collect();
    for link in [
        ("waitlist_join", "waitlist_accept"),
        ("waitlist_join", "waitlist_leave"),
        ("waitlist_join", "waitlist_show"),
        ("calendars_add_to_resource", "calendars_revoke"),
        ("calendars_add_to_user", "calendars_revoke"),
    ] {
        assert!(told.contains(&link), "{link:?} is not in {told:?}");
    }
}

#[tokio::test]
async fn where_a_token_is_needed_the_document_asks_for_it_and_the_api_does_the_same() {
    let running = tokens::running().await;
    let document = running.get("/openapi.json").await.json();
    assert_eq!(document["security"], json!([{ "bearer": [] }]));
    for path in ["/healthz", "/readyz", "/calendars/{id}"] {
        let security = &document["paths"][path]["get"]["security"];
        assert_eq!(security, &json!([{}]), "{path}");
    }
    assert_eq!(
        document["paths"]["/bookings"]["get"]["security"],
        json!(null)
    );
    running.get("/bookings").await.problem(401);
    running.get("/healthz").await;
    running.get("/calendars/nothing.ics").await.problem(404);
}
