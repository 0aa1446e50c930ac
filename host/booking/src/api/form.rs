//! The form of a text: one definition is what the document of the API says and what is checked, so that
//! neither can be looser than the other. Which texts there are is in `texts.rs`.

use std::sync::OnceLock;

use regex::Regex;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaFormat, Type};

/// The form of a text, as JSON Schema has it (draft 2020-12, section 6.3 of its validation).
pub(super) struct Form {
    fewest_chars: usize,
    most_chars: usize,
    /// Read by this program and, as ECMA 262 has it, by others; so without what only one of them knows.
    pattern: &'static str,
    /// What the pattern asks for, as a phrase for whoever has sent something else.
    rule: &'static str,
    pub(super) example: Option<&'static str>,
    /// One of JSON Schema, or a name of its own for who wants to make examples of it.
    format: Option<&'static str>,
    regex: OnceLock<Regex>,
}

impl Form {
    pub(super) const fn new(
        (fewest_chars, most_chars): (usize, usize),
        pattern: &'static str,
        rule: &'static str,
    ) -> Self {
        Self {
            fewest_chars,
            most_chars,
            pattern,
            rule,
            example: None,
            format: None,
            regex: OnceLock::new(),
        }
    }

    /// One to try. There is none where whatever everybody sends would be wrong for most.
    pub(super) const fn example(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self
    }

    pub(super) const fn format(mut self, format: &'static str) -> Self {
        self.format = Some(format);
        self
    }

    /// What is wrong with a text.
    pub(super) fn fault(&self, text: &str) -> Option<String> {
        let chars = text.chars().count();
        if chars == 0 && self.fewest_chars > 0 {
            return Some("it must not be empty".to_owned());
        }
        if chars < self.fewest_chars || !self.regex().is_match(text) {
            return Some(self.rule.to_owned());
        }
        (chars > self.most_chars)
            .then(|| format!("it must have at most {} characters", self.most_chars))
    }

    #[expect(clippy::expect_used, reason = "a test compiles every pattern")]
    fn regex(&self) -> &Regex {
        self.regex
            .get_or_init(|| Regex::new(self.pattern).expect("a pattern that compiles"))
    }

    /// What the document says of it.
    pub(super) fn schema(&self, about: &str) -> Schema {
        let object = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(about.trim()))
            .format(
                self.format
                    .map(|name| SchemaFormat::Custom(name.to_owned())),
            )
            .min_length(Some(self.fewest_chars))
            .max_length(Some(self.most_chars))
            .pattern(Some(self.pattern))
            .examples(self.example);
        Schema::Object(object.build())
    }
}

/// A text that has a form, for [`super::faults::Faults::text`] to check.
pub(super) trait Text: AsRef<str> {
    /// Its form.
    fn form() -> &'static Form;

    /// As it came.
    fn given(&self) -> String {
        self.as_ref().to_owned()
    }

    /// Without blanks around it.
    fn trimmed(&self) -> String {
        self.as_ref().trim().to_owned()
    }
}

/// A type for each kind of text: what it is, and its form.
macro_rules! texts {
    ($($(#[doc = $about:literal])+ $name:ident = $form:expr;)*) => {
        $(
            $(#[doc = $about])+
            #[derive(Debug, Clone, serde::Deserialize, serde::Serialize)]
            #[serde(transparent)]
            pub(super) struct $name(String);

            impl $crate::api::form::Text for $name {
                fn form() -> &'static $crate::api::form::Form {
                    static FORM: $crate::api::form::Form = $form;
                    &FORM
                }
            }

            impl AsRef<str> for $name {
                fn as_ref(&self) -> &str {
                    &self.0
                }
            }

            impl utoipa::PartialSchema for $name {
                fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                    utoipa::openapi::RefOr::T(Self::form().schema(concat!($($about),+)))
                }
            }

            impl utoipa::ToSchema for $name {}
        )*

        #[cfg(test)]
        fn all() -> Vec<(&'static str, &'static $crate::api::form::Form)> {
            vec![$((stringify!($name), $name::form())),*]
        }
    };
}
pub(super) use texts;
