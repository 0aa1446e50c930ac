//! A component made for 0.1.0 of the interface, which knows no state versions.
#![cfg(target_arch = "wasm32")]

#[allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    reason = "generated code"
)]
mod old {
    wit_bindgen::generate!({
        path: "../../wit/carillon-plugin-0.1.0",
        world: "plugin",
    });

    use carillon::plugin::types::{
        Action, Description, Event, Failure, Notification, Priority, Recipient,
    };
    use exports::carillon::plugin::handler::Guest;

    struct Old;

    impl Guest for Old {
        fn describe() -> Description {
            Description {
                name: "old-interface".to_owned(),
                version: "0.1.0".to_owned(),
                summary: "Counts events, and tells their user which one it was.".to_owned(),
                subscriptions: vec!["*".to_owned()],
                settings: Vec::new(),
            }
        }

        fn handle(event: Event) -> Result<Vec<Action>, Failure> {
            let count = carillon::plugin::state::increment("count", 1, None)
                .map_err(|error| Failure::Reject(format!("{error:?}")))?;
            let Some(user) = event.user_id else {
                return Ok(Vec::new());
            };
            Ok(vec![Action::Notify(Notification {
                recipient: Recipient::User(user),
                category: "test".to_owned(),
                title: event.kind,
                body: format!("event {count}"),
                data: None,
                link: None,
                channels: Vec::new(),
                priority: Priority::Normal,
                collapse_key: None,
                deliver_at: None,
                expires_at: None,
                digest: None,
            })])
        }
    }

    export!(Old);
}
