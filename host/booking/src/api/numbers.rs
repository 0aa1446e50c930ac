//! Whole numbers of query strings, with the range that the document of the API names.

use std::ops::Deref;

use carillon_web::Limit;
use serde::{Deserialize, Deserializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// How many items a page has: `DEFAULT` unless asked, at most `MAX`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct PageSize<const DEFAULT: u32, const MAX: u32>(Limit<DEFAULT, MAX>);

impl<const DEFAULT: u32, const MAX: u32> Deref for PageSize<DEFAULT, MAX> {
    type Target = Limit<DEFAULT, MAX>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<const DEFAULT: u32, const MAX: u32> PartialSchema for PageSize<DEFAULT, MAX> {
    fn schema() -> RefOr<Schema> {
        let object = range(1, MAX.into()).default(Some(DEFAULT.into()));
        RefOr::T(Schema::Object(object.build()))
    }
}

impl<const DEFAULT: u32, const MAX: u32> ToSchema for PageSize<DEFAULT, MAX> {}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Within<const MIN: i64, const MAX: i64>(pub(super) i64);

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Within<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ => Err(serde::de::Error::custom(format!(
                "`{text}` must be a whole number from {MIN} to {MAX}"
            ))),
        }
    }
}

impl<const MIN: i64, const MAX: i64> PartialSchema for Within<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        RefOr::T(Schema::Object(range(MIN, MAX).build()))
    }
}

impl<const MIN: i64, const MAX: i64> ToSchema for Within<MIN, MAX> {}

fn range(min: i64, max: i64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(min))
        .maximum(Some(max))
}
