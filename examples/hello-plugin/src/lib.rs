//! The smallest useful Carillon plugin: it greets whoever checks in, and counts the visits.

use carillon_plugin::prelude::*;

#[plugin(
    name = "hello-plugin",
    summary = "Greets people who check in.",
    subscriptions = ["booking.checked_in"],
    settings = [setting(
        key = "greeting",
        summary = "How people are greeted.",
        default = "Welcome"
    )]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let user = event.require_user()?;
    let booking = event.booking()?;
    let visits = state::increment(&format!("visits:{user}"), 1)?;
    log::info!("{user} is here for visit {visits}");

    let greeting = settings::get("greeting").unwrap_or_default();
    let what = booking.title.as_deref().unwrap_or("your booking");
    Ok(vec![
        Notification::to_user(user)
            .category("booking")
            .title(format!("{greeting}!"))
            .body(format!("Enjoy {what}. This is your visit number {visits}."))
            .into(),
    ])
}

#[cfg(test)]
mod tests {
    use carillon_plugin::testing::{Environment, event};

    use super::*;

    #[test]
    fn the_second_visit_is_counted_as_the_second() {
        let environment = Environment::of(&describe());
        let arrival = || event("booking.checked_in").user("user-1").build();
        for visit in ["number 1.", "number 2."] {
            let answer = environment.call(handle, arrival());
            let Ok([Action::Notify(greeting)]) = answer.as_deref() else {
                panic!("expected one notification, was {answer:?}");
            };
            assert_eq!(greeting.title, "Welcome!");
            assert!(greeting.body.ends_with(visit), "{}", greeting.body);
        }
    }
}
