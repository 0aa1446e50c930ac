//! What `#[plugin]` writes beside the function.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemFn, Result, ReturnType};

use crate::declaration::{Declaration, Setting};

/// The function as it stands, `describe()`, and the exports of the plugin's world.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let declaration: Declaration = syn::parse2(arguments)?;
    let function: ItemFn = syn::parse2(item).map_err(|error| {
        Error::new(
            error.span(),
            "#[plugin] stands on a function: fn handle(event: Event) -> Result<Vec<Action>, Failure>",
        )
    })?;
    check_signature(&function)?;

    let describe = describe(&declaration);
    let state_version = declaration.state_version;
    let handler = &function.sig.ident;
    // A wrong type is reported where the author wrote it.
    let span = match &function.sig.output {
        ReturnType::Type(_, written) => written.span(),
        ReturnType::Default => handler.span(),
    };
    let handler_constant = quote_spanned! { span =>
        const HANDLER: fn(::carillon_plugin::Event) -> ::carillon_plugin::Answer = #handler;
    };
    Ok(quote! {
        #[allow(clippy::needless_pass_by_value, reason = "the world hands events over by value")]
        #function

        #describe

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, unused_qualifications, reason = "the exports of the plugin's world")]
        const _: () = {
            struct Plugin;

            impl ::carillon_plugin::Guest for Plugin {
                fn describe() -> ::carillon_plugin::Description {
                    ::carillon_plugin::panics::log_panics();
                    describe()
                }

                fn handle(event: ::carillon_plugin::Event) -> ::carillon_plugin::Answer {
                    ::carillon_plugin::panics::log_panics();
                    HANDLER(event)
                }

                fn state_version() -> u32 {
                    #state_version
                }
            }

            ::carillon_plugin::bindings::export!(Plugin with_types_in ::carillon_plugin::bindings);
        };

        #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "natively only tests call it"))]
        #handler_constant
    })
}

fn check_signature(function: &ItemFn) -> Result<()> {
    let signature = &function.sig;
    let expected = "fn handle(event: Event) -> Result<Vec<Action>, Failure>";
    let wrong = if let Some(word) = &signature.asyncness {
        Some((
            word.span(),
            "a plugin's function is not async: the host runs one event at a time",
        ))
    } else if let Some(word) = &signature.unsafety {
        Some((word.span(), "a plugin's function is not unsafe"))
    } else if !signature.generics.params.is_empty() {
        Some((
            signature.generics.span(),
            "a plugin's function has no type parameters",
        ))
    } else if signature.inputs.len() != 1 {
        Some((
            signature.ident.span(),
            "a plugin's function takes one argument, the event",
        ))
    } else if matches!(signature.output, ReturnType::Default) {
        Some((
            signature.ident.span(),
            "a plugin's function answers actions or a failure",
        ))
    } else if signature.ident == "describe" {
        Some((
            signature.ident.span(),
            "#[plugin] writes a function `describe` itself: choose another name",
        ))
    } else {
        None
    };
    match wrong {
        Some((span, message)) => Err(Error::new(span, format!("{message}; expected {expected}"))),
        None => Ok(()),
    }
}

fn describe(declaration: &Declaration) -> TokenStream {
    let Declaration {
        name,
        summary,
        subscriptions,
        settings,
        version,
        ..
    } = declaration;
    let settings = settings.iter().map(setting);
    let version = match version {
        Some(version) => quote!(#version),
        // Without what may follow the three numbers.
        None => quote! {
            ::core::concat!(
                ::core::env!("CARGO_PKG_VERSION_MAJOR"),
                ".",
                ::core::env!("CARGO_PKG_VERSION_MINOR"),
                ".",
                ::core::env!("CARGO_PKG_VERSION_PATCH"),
            )
        },
    };
    quote! {
        /// What this plugin says of itself to the host.
        #[must_use]
        pub fn describe() -> ::carillon_plugin::Description {
            ::carillon_plugin::Description {
                name: ::std::string::String::from(#name),
                version: ::std::string::String::from(#version),
                summary: ::std::string::String::from(#summary),
                subscriptions: ::std::vec![#(::std::string::String::from(#subscriptions)),*],
                settings: ::std::vec![#(#settings),*],
            }
        }
    }
}

fn setting(setting: &Setting) -> TokenStream {
    let Setting {
        key,
        summary,
        default,
    } = setting;
    let default = match default {
        Some(text) => quote!(::core::option::Option::Some(::std::string::String::from(#text))),
        None => quote!(::core::option::Option::None),
    };
    quote! {
        ::carillon_plugin::Setting {
            key: ::std::string::String::from(#key),
            summary: ::std::string::String::from(#summary),
            default: #default,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::expand;

    const HANDLER: &str = "fn handle(event: Event) -> Result<Vec<Action>, Failure> { Ok(vec![]) }";
    const GOOD: &str = r#"name = "a", summary = "b", subscriptions = ["booking.*"]"#;

    #[track_caller]
    fn check(arguments: &str, item: &str, expected: &str) {
        let parsed = (arguments.parse(), item.parse());
        let (Ok(arguments), Ok(item)) = parsed else {
            panic!("the test's source is no Rust: {parsed:?}");
        };
        match expand(arguments, item) {
            Ok(_) => assert_eq!("accepted", expected),
            Err(error) => {
                let error = error.to_string();
                assert!(
                    error.contains(expected),
                    "expected `{expected}`, was `{error}`"
                );
            }
        }
    }

    #[test]
    fn a_complete_declaration_is_accepted() {
        check(GOOD, HANDLER, "accepted");
        let settings = r#", settings = [setting(key = "a_b", summary = "c", default = ""), setting(key = "d", summary = "e"),],"#;
        check(&format!("{GOOD}{settings}"), HANDLER, "accepted");
        let versions = r#", version = "1.20.3", state_version = 2"#;
        check(&format!("{GOOD}{versions}"), HANDLER, "accepted");
    }

    #[test]
    fn every_wrong_declaration_gets_a_sentence_that_says_what_to_do() {
        for (arguments, expected) in [
            ("", "`name` is missing: add `name = \"booking-updates\"`"),
            (r#"name = "a""#, "`summary` is missing"),
            (r#"name = "a", summary = "b""#, "`subscriptions` is missing"),
            (r#"name = "a", name = "b""#, "`name` stands here twice"),
            (r#"nmae = "a""#, "unknown key `nmae`"),
            (
                r#"name = "Booking Updates", summary = "b", subscriptions = ["*"]"#,
                "lower-case letters",
            ),
            (
                r#"name = "4rooms", summary = "b", subscriptions = ["*"]"#,
                "begins with a letter",
            ),
            (
                r#"name = "a", summary = "b\n", subscriptions = ["*"]"#,
                "one line of at most 500 bytes",
            ),
            (
                r#"name = "a", summary = " ", subscriptions = ["*"]"#,
                "the summary is empty",
            ),
            (
                r#"name = "a", summary = "b", subscriptions = []"#,
                "the plugin would see no event",
            ),
            (
                r#"name = "a", summary = "b", subscriptions = ["booking"]"#,
                "`booking` is no subscription",
            ),
            (
                r#"name = "a", summary = "b", subscriptions = ["*.created"]"#,
                "`*.created` is no subscription",
            ),
            (
                r#"name = "a", summary = "b", subscriptions = ["a.b", "a.b"]"#,
                "`a.b` stands here twice",
            ),
            (
                r#"name = "a", summary = "b", subscriptions = ["*"], version = "1.2""#,
                "three numbers",
            ),
            (
                r#"name = "a", summary = "b", subscriptions = ["*"], state_version = -1"#,
                "from 0 to 4294967295",
            ),
            (
                r#"name = "a", summary = "b", subscriptions = ["*"], state_version = 4294967296"#,
                "from 0 to 4294967295",
            ),
            (
                r#"name = "a", summary = "b", subscriptions = ["*"], settings = [(1)]"#,
                "expected",
            ),
            (
                r#"name = "a", summary = "b", subscriptions = ["*"], settings = [set(key = "a")]"#,
                "expected `setting(",
            ),
            (
                r#"name = "a", summary = "b", subscriptions = ["*"], settings = [setting(key = "a")]"#,
                "`summary` is missing",
            ),
            (
                r#"name = "a", summary = "b", subscriptions = ["*"], settings = [setting(key = "a b", summary = "c")]"#,
                "a setting's key",
            ),
            (
                r#"name = "a", summary = "b", subscriptions = ["*"], settings = [setting(key = "a", summary = "c"), setting(key = "a", summary = "c")]"#,
                "`a` stands here twice",
            ),
        ] {
            check(arguments, HANDLER, expected);
        }
    }

    #[test]
    fn a_function_of_another_shape_is_refused_with_the_shape_that_is_wanted() {
        for (item, expected) in [
            ("struct S;", "#[plugin] stands on a function"),
            ("async fn handle(e: Event) -> R {}", "not async"),
            ("unsafe fn handle(e: Event) -> R {}", "not unsafe"),
            ("fn handle<T>(e: T) -> R {}", "no type parameters"),
            ("fn handle() -> R {}", "takes one argument"),
            ("fn handle(a: A, b: B) -> R {}", "takes one argument"),
            ("fn handle(e: Event) {}", "answers actions or a failure"),
            ("fn describe(e: Event) -> R {}", "choose another name"),
        ] {
            check(GOOD, item, expected);
        }
    }
}
