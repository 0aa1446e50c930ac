//! The bodies of `POST /resources` and `PATCH /resources/{id}`, and what is wrong with them.

use carillon_web::Problem;
use serde::{Deserialize, Serialize};

use super::faults::Faults;
use crate::changes::ResourceEdit;
use crate::record::Resource;
use crate::rules::Rules;

/// The body of `POST /resources` as it comes.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ResourceBody {
    /// One is made where none is given.
    id: Option<String>,
    name: String,
    kind: String,
    #[schema(minimum = 1, maximum = 100_000)]
    capacity: i64,
    #[serde(default)]
    requires_approval: bool,
    #[serde(default)]
    place: String,
    #[serde(default = "utc")]
    time_zone: String,
    #[serde(default)]
    rules: Rules,
}

pub(super) fn utc() -> String {
    "UTC".to_owned()
}

/// The id that is given, or a new one.
pub(super) fn id_or_new(faults: &mut Faults, id: Option<&str>) -> String {
    match id {
        Some(id) => {
            faults.new_id("id", id);
            id.to_owned()
        }
        None => uuid::Uuid::now_v7().to_string(),
    }
}

fn check_rules(faults: &mut Faults, rules: &Rules) {
    if let Err((field, detail)) = rules.check() {
        faults.add(field, detail);
    }
}

impl ResourceBody {
    /// Checks everything that can be checked without the tables.
    pub(super) fn checked(&self) -> Result<Resource, Problem> {
        let mut faults = Faults::default();
        let id = id_or_new(&mut faults, self.id.as_deref());
        let (name, place) = (self.name.trim(), self.place.trim());
        faults.name("name", name);
        faults.kind(&self.kind);
        faults.capacity(self.capacity);
        faults.place(place);
        let time_zone = faults.zone_name("timeZone", &self.time_zone);
        check_rules(&mut faults, &self.rules);
        faults.result()?;
        Ok(Resource {
            id,
            name: name.to_owned(),
            kind: self.kind.clone(),
            capacity: self.capacity,
            requires_approval: self.requires_approval,
            place: place.to_owned(),
            time_zone,
            rules: self.rules.clone(),
            version: 1,
        })
    }
}

/// The body of `PATCH /resources/{id}` as it comes: what is left out stays; `rules` are given whole.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ResourcePatch {
    name: Option<String>,
    kind: Option<String>,
    #[schema(minimum = 1, maximum = 100_000)]
    capacity: Option<i64>,
    requires_approval: Option<bool>,
    place: Option<String>,
    time_zone: Option<String>,
    rules: Option<Rules>,
}

impl ResourcePatch {
    /// Checks everything that can be checked without the resource.
    pub(super) fn checked(self) -> Result<ResourceEdit, Problem> {
        let mut faults = Faults::default();
        let name = self.name.as_deref().map(str::trim);
        let place = self.place.as_deref().map(str::trim);
        if let Some(name) = name {
            faults.name("name", name);
        }
        if let Some(kind) = &self.kind {
            faults.kind(kind);
        }
        if let Some(capacity) = self.capacity {
            faults.capacity(capacity);
        }
        if let Some(place) = place {
            faults.place(place);
        }
        let time_zone = self
            .time_zone
            .as_deref()
            .map(|name| faults.zone_name("timeZone", name));
        if let Some(rules) = &self.rules {
            check_rules(&mut faults, rules);
        }
        faults.result()?;
        Ok(ResourceEdit {
            name: name.map(str::to_owned),
            place: place.map(str::to_owned),
            kind: self.kind,
            capacity: self.capacity,
            requires_approval: self.requires_approval,
            time_zone,
            rules: self.rules,
        })
    }
}
