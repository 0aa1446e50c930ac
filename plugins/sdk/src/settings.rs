//! The operator's settings for this plugin. Declare them in the `#[plugin]` attribute.

use std::str::FromStr;

use crate::Failure;

/// The value of a setting: the operator's, else its declared default, else nothing.
#[must_use]
pub fn get(key: &str) -> Option<String> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::carillon::plugin::settings::get(key);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::setting(key)
}

/// The value of a setting as a number, a `bool` or whatever else can be parsed.
///
/// # Errors
/// [`Failure::Retry`] when there is no value or it cannot be parsed: the operator can mend
/// that, and the event then comes again.
pub fn parse<T: FromStr>(key: &str) -> Result<T, Failure> {
    let Some(value) = get(key) else {
        return Err(Failure::retry(format!("the setting `{key}` has no value")));
    };
    value.trim().parse().map_err(|_| {
        let kind = std::any::type_name::<T>();
        Failure::retry(format!("the setting `{key}` is `{value}`, not a {kind}"))
    })
}
