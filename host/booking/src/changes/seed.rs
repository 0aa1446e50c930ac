//! The resources and users of `--demo`.

use crate::command::Command;
use crate::error::WriteError;
use crate::queries;
use crate::record::{Resource, User};
use crate::rules::Rules;
use crate::work::Work;

/// Id, name, capacity, and whether bookings wait for approval.
const RESOURCES: [(&str, &str, i64, bool); 4] = [
    ("room-1", "Aurora", 8, false),
    ("room-2", "Borealis", 12, false),
    ("room-3", "Cumulus", 20, false),
    ("room-4", "Delta Hall", 60, true),
];

/// Id, name, time zone, language.
const USERS: [(&str, &str, &str, &str); 7] = [
    ("user-1", "Ada Lindqvist", "Europe/Stockholm", "sv"),
    ("user-2", "Bao Nguyen", "Asia/Ho_Chi_Minh", "vi"),
    ("user-3", "Chidi Okafor", "Africa/Lagos", "en"),
    ("user-4", "Daniela Größ", "Europe/Berlin", "de"),
    ("user-5", "Emiko Tanaka", "Asia/Tokyo", "ja"),
    ("user-6", "Farid Haddad", "Africa/Casablanca", "fr"),
    ("user-7", "Grace Miller", "America/New_York", "en"),
];

/// Fills an empty database; leaves any other as it is.
pub(crate) struct SeedDemo;

impl Command for SeedDemo {
    /// Whether there was anything to do.
    type Done = bool;

    async fn carry_out(&self, work: &mut Work<'_>) -> Result<bool, WriteError> {
        if !queries::is_empty(&mut *work.connection).await? {
            return Ok(false);
        }
        for (id, name, capacity, requires_approval) in RESOURCES {
            let resource = Resource {
                id: id.into(),
                name: name.into(),
                kind: "room".into(),
                capacity,
                requires_approval,
                place: "Main building".into(),
                time_zone: "UTC".into(),
                rules: Rules::default(),
                version: 1,
            };
            work.add_master(&resource).await?;
        }
        for (id, display_name, time_zone, locale) in USERS {
            let user = User {
                id: id.into(),
                email: format!("{id}@example.com"),
                display_name: display_name.into(),
                time_zone: time_zone.into(),
                locale: locale.into(),
                version: 1,
            };
            work.add_master(&user).await?;
        }
        Ok(true)
    }
}
