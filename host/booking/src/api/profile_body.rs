//! The bodies of `POST /users` and `PATCH /users/{id}`, and what is wrong with them.

use carillon_web::Problem;
use serde::{Deserialize, Serialize};

use super::faults::Faults;
use super::form::Text;
use super::resource_body::id_or_new;
use super::texts::{Email, Locale, Name, NewId, ZoneName};
use crate::changes::UserEdit;
use crate::record::User;

/// The body of `POST /users` as it comes.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "email": "ada@example.com", "displayName": "Ada", "timeZone": "Europe/Berlin", "locale": "de"
}))]
pub(super) struct UserBody {
    /// The `sub` of their tokens; one is made where none is given.
    id: Option<NewId>,
    email: Email,
    display_name: Name,
    #[serde(default)]
    time_zone: ZoneName,
    #[serde(default)]
    locale: Locale,
}

impl UserBody {
    /// Checks everything that can be checked without the tables.
    pub(super) fn checked(&self) -> Result<User, Problem> {
        let mut faults = Faults::default();
        let id = id_or_new(&mut faults, self.id.as_ref());
        faults.email(&self.email);
        faults.text("displayName", &self.display_name);
        let time_zone = faults.time_zone(&self.time_zone);
        faults.text("locale", &self.locale);
        faults.result()?;
        Ok(User {
            id,
            email: self.email.given(),
            display_name: self.display_name.trimmed(),
            time_zone,
            locale: self.locale.given(),
            version: 1,
        })
    }
}

/// The body of `PATCH /users/{id}` as it comes: what is left out stays.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({ "displayName": "Ada", "timeZone": "Europe/London" }))]
pub(super) struct UserPatch {
    email: Option<Email>,
    display_name: Option<Name>,
    time_zone: Option<ZoneName>,
    locale: Option<Locale>,
}

impl UserPatch {
    /// Checks everything that can be checked without the user.
    pub(super) fn checked(&self) -> Result<UserEdit, Problem> {
        let mut faults = Faults::default();
        if let Some(email) = &self.email {
            faults.email(email);
        }
        faults.text_if_given("displayName", self.display_name.as_ref());
        let time_zone = self.time_zone.as_ref();
        let time_zone = time_zone.map(|name| faults.time_zone(name));
        faults.text_if_given("locale", self.locale.as_ref());
        faults.result()?;
        Ok(UserEdit {
            display_name: self.display_name.as_ref().map(Text::trimmed),
            email: self.email.as_ref().map(Text::given),
            time_zone,
            locale: self.locale.as_ref().map(Text::given),
        })
    }
}
