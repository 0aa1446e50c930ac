//! The `#[plugin]` attribute of the Carillon plugin SDK.
//!
//! Use it through `carillon_plugin::plugin`; the code that it writes names that crate.

mod declaration;
mod expansion;

use proc_macro::TokenStream;

/// Makes a function the handler of a plugin.
///
/// ```ignore
/// #[plugin(
///     name = "booking-updates",
///     summary = "Tells people what became of their bookings.",
///     subscriptions = ["booking.*"],
///     settings = [
///         setting(key = "link_base", summary = "Where links lead.", default = ""),
///         setting(key = "team", summary = "A setting without a default is required."),
///     ],
///     state_version = 2,
/// )]
/// fn handle(event: Event) -> Result<Vec<Action>, Failure> { … }
/// ```
///
/// The plugin's version is the crate's, unless `version = "1.2.3"` gives another. `state_version`
/// says which shape of the plugin's state this version writes, and is 0 where it is not given:
/// raise it when older versions of the plugin could not read what this one writes, and the host
/// does not go back to them unless it is told to.
///
/// Beside the function, a function `describe()` is written that answers all this as the host sees
/// it, for tests. What is wrong with the declaration (a name that the host would refuse, a
/// subscription that matches nothing) is a compile error at its place.
#[proc_macro_attribute]
pub fn plugin(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expansion::expand(arguments.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
