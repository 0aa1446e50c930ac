//! The bodies of `POST /users` and `PATCH /users/{id}`, and what is wrong with them.

use carillon_web::Problem;
use serde::{Deserialize, Serialize};

use super::faults::Faults;
use super::resource_body::{id_or_new, utc};
use crate::changes::UserEdit;
use crate::record::User;

/// The body of `POST /users` as it comes.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UserBody {
    /// The `sub` of their tokens; one is made where none is given.
    id: Option<String>,
    email: String,
    display_name: String,
    #[serde(default = "utc")]
    time_zone: String,
    #[serde(default = "english")]
    locale: String,
}

fn english() -> String {
    "en".to_owned()
}

impl UserBody {
    /// Checks everything that can be checked without the tables.
    pub(super) fn checked(&self) -> Result<User, Problem> {
        let mut faults = Faults::default();
        let id = id_or_new(&mut faults, self.id.as_deref());
        let display_name = self.display_name.trim();
        faults.email(&self.email);
        faults.name("displayName", display_name);
        let time_zone = faults.zone_name("timeZone", &self.time_zone);
        faults.locale(&self.locale);
        faults.result()?;
        Ok(User {
            id,
            email: self.email.clone(),
            display_name: display_name.to_owned(),
            time_zone,
            locale: self.locale.clone(),
            version: 1,
        })
    }
}

/// The body of `PATCH /users/{id}` as it comes: what is left out stays.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UserPatch {
    email: Option<String>,
    display_name: Option<String>,
    time_zone: Option<String>,
    locale: Option<String>,
}

impl UserPatch {
    /// Checks everything that can be checked without the user.
    pub(super) fn checked(self) -> Result<UserEdit, Problem> {
        let mut faults = Faults::default();
        if let Some(email) = &self.email {
            faults.email(email);
        }
        let display_name = self.display_name.as_deref().map(str::trim);
        if let Some(name) = display_name {
            faults.name("displayName", name);
        }
        let time_zone = self
            .time_zone
            .as_deref()
            .map(|name| faults.zone_name("timeZone", name));
        if let Some(locale) = &self.locale {
            faults.locale(locale);
        }
        faults.result()?;
        Ok(UserEdit {
            display_name: display_name.map(str::to_owned),
            email: self.email,
            time_zone,
            locale: self.locale,
        })
    }
}
