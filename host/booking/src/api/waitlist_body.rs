//! The body of `POST /waitlist/{resourceId}`, and what is wrong with it.

use carillon_web::Problem;
use serde::{Deserialize, Serialize};

use super::booking_body::{meeting, one, user_id};
use super::caller::Caller;
use super::faults::Faults;
use super::form::Text as _;
use super::texts::{Time, Title, UserId};
use crate::actor::Role;
use crate::changes::NewEntry;
use crate::whole;

/// The highest priority that anybody may give themselves.
const MAX_OWN_PRIORITY: i64 = 100;

/// The highest priority, for those who run the place to give.
const MAX_PRIORITY: i64 = 1_000;

/// The body of `POST /waitlist/{resourceId}` as it comes.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "userId": "user-2", "title": "Team meeting", "attendeesCount": 4, "priority": 10,
    "startTime": "2031-05-06T09:00:00Z", "endTime": "2031-05-06T10:00:00Z"
}))]
pub(super) struct WaitlistBody {
    /// May be left out by a caller with a token, who waits for themselves.
    user_id: Option<UserId>,
    title: Title,
    start_time: Time,
    /// At most 31 days later.
    end_time: Time,
    #[schema(minimum = 1, maximum = 100_000)]
    #[serde(default = "one", deserialize_with = "whole::required")]
    attendees_count: i64,
    /// The higher, the sooner; above 100 for staff to give.
    #[schema(minimum = 0, maximum = 1000)]
    #[serde(default, deserialize_with = "whole::required")]
    priority: i64,
}

impl WaitlistBody {
    /// Checks everything that can be checked without the tables.
    pub(super) fn checked(&self, caller: &Caller, resource_id: &str) -> Result<NewEntry, Problem> {
        let mut faults = Faults::default();
        let user_id = user_id(&mut faults, self.user_id.as_ref(), caller)?;
        let people = self.attendees_count;
        let interval = meeting(
            &mut faults,
            &self.title,
            people,
            (&self.start_time, &self.end_time),
        );
        if !(0..=MAX_PRIORITY).contains(&self.priority) {
            faults.malformed("priority", format!("it must be from 0 to {MAX_PRIORITY}"));
        }
        faults.result()?;
        if self.priority > MAX_OWN_PRIORITY {
            caller.needs(Role::Staff, &format!("A priority above {MAX_OWN_PRIORITY}"))?;
        }
        Ok(NewEntry {
            resource_id: resource_id.to_owned(),
            user_id,
            title: self.title.trimmed(),
            interval,
            attendees_count: people,
            priority: self.priority,
        })
    }
}
