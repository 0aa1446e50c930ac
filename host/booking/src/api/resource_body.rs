//! The bodies of `POST /resources` and `PATCH /resources/{id}`, and what is wrong with them.

use carillon_web::Problem;
use serde::{Deserialize, Serialize};

use super::faults::Faults;
use super::form::Text;
use super::rules_body;
use super::texts::{Kind, Name, NewId, Place, ZoneName};
use crate::changes::ResourceEdit;
use crate::record::Resource;
use crate::rules::Rules;
use crate::whole;

/// The body of `POST /resources` as it comes.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "name": "Laboratory", "kind": "lab", "capacity": 6, "place": "2nd floor", "timeZone": "Europe/Berlin",
    "rules": {
        "openingHours": { "monday": [{ "from": "08:00", "to": "18:00" }] },
        "maxDurationMinutes": 240, "bufferMinutes": 15
    }
}))]
pub(super) struct ResourceBody {
    /// One is made where none is given.
    id: Option<NewId>,
    name: Name,
    kind: Kind,
    #[schema(minimum = 1, maximum = 100_000)]
    #[serde(deserialize_with = "whole::required")]
    capacity: i64,
    #[serde(default)]
    requires_approval: bool,
    #[serde(default = "Place::nowhere")]
    place: Place,
    #[serde(default)]
    time_zone: ZoneName,
    #[serde(default)]
    rules: Rules,
}

/// The id that is given, or a new one.
pub(super) fn id_or_new(faults: &mut Faults, id: Option<&NewId>) -> String {
    match id {
        Some(id) => {
            faults.text("id", id);
            id.given()
        }
        None => uuid::Uuid::now_v7().to_string(),
    }
}

impl ResourceBody {
    /// Checks everything that can be checked without the tables.
    pub(super) fn checked(&self) -> Result<Resource, Problem> {
        let mut faults = Faults::default();
        let id = id_or_new(&mut faults, self.id.as_ref());
        faults.text("name", &self.name);
        faults.text("kind", &self.kind);
        faults.people("capacity", self.capacity);
        faults.text("place", &self.place);
        let time_zone = faults.time_zone(&self.time_zone);
        rules_body::check(&mut faults, &self.rules);
        faults.result()?;
        Ok(Resource {
            id,
            name: self.name.trimmed(),
            kind: self.kind.given(),
            capacity: self.capacity,
            requires_approval: self.requires_approval,
            place: self.place.trimmed(),
            time_zone,
            rules: self.rules.clone(),
            version: 1,
        })
    }
}

/// The body of `PATCH /resources/{id}` as it comes: what is left out stays; `rules` are given whole.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({ "name": "Laboratory", "capacity": 8 }))]
pub(super) struct ResourcePatch {
    name: Option<Name>,
    kind: Option<Kind>,
    #[schema(minimum = 1, maximum = 100_000)]
    #[serde(default, deserialize_with = "whole::optional")]
    capacity: Option<i64>,
    requires_approval: Option<bool>,
    place: Option<Place>,
    time_zone: Option<ZoneName>,
    rules: Option<Rules>,
}

impl ResourcePatch {
    /// Checks everything that can be checked without the resource.
    pub(super) fn checked(self) -> Result<ResourceEdit, Problem> {
        let mut faults = Faults::default();
        faults.text_if_given("name", self.name.as_ref());
        faults.text_if_given("kind", self.kind.as_ref());
        if let Some(capacity) = self.capacity {
            faults.people("capacity", capacity);
        }
        faults.text_if_given("place", self.place.as_ref());
        let time_zone = self.time_zone.as_ref();
        let time_zone = time_zone.map(|name| faults.time_zone(name));
        if let Some(rules) = &self.rules {
            rules_body::check(&mut faults, rules);
        }
        faults.result()?;
        Ok(ResourceEdit {
            name: self.name.as_ref().map(Text::trimmed),
            place: self.place.as_ref().map(Text::trimmed),
            kind: self.kind.as_ref().map(Text::given),
            capacity: self.capacity,
            requires_approval: self.requires_approval,
            time_zone,
            rules: self.rules,
        })
    }
}
