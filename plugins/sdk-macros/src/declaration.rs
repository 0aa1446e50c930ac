//! What stands in the parentheses of `#[plugin(…)]`.

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, LitInt, LitStr, Result, Token, bracketed, parenthesized};

/// The longest name of a plugin, in characters; the host's rule.
const MAX_NAME_CHARACTERS: usize = 64;

/// The longest summary, in bytes; the host's rule.
const MAX_SUMMARY_BYTES: usize = 500;

/// A plugin's description of itself, checked.
pub(crate) struct Declaration {
    pub(crate) name: LitStr,
    pub(crate) summary: LitStr,
    pub(crate) subscriptions: Vec<LitStr>,
    pub(crate) settings: Vec<Setting>,
    /// The crate's version where it is not given.
    pub(crate) version: Option<LitStr>,
    pub(crate) state_version: u32,
}

/// One setting that the plugin reads.
pub(crate) struct Setting {
    pub(crate) key: LitStr,
    pub(crate) summary: LitStr,
    pub(crate) default: Option<LitStr>,
}

impl Parse for Declaration {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut name = None;
        let mut summary = None;
        let mut subscriptions = None;
        let mut settings = None;
        let mut version = None;
        let mut state_version: Option<LitInt> = None;
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match key.to_string().as_str() {
                "name" => once(&key, &mut name, input.parse()?)?,
                "summary" => once(&key, &mut summary, input.parse()?)?,
                "subscriptions" => once(&key, &mut subscriptions, list(input)?)?,
                "settings" => once(&key, &mut settings, list(input)?)?,
                "version" => once(&key, &mut version, input.parse()?)?,
                "state_version" => once(&key, &mut state_version, input.parse()?)?,
                other => {
                    return Err(Error::new(
                        key.span(),
                        format!(
                            "unknown key `{other}`: a plugin declares `name`, `summary`, `subscriptions`, `settings`, `version` and `state_version`"
                        ),
                    ));
                }
            }
            separator(input)?;
        }
        let declaration = Self {
            name: required(input, "name", "\"booking-updates\"", name)?,
            summary: required(input, "summary", "\"What operators read.\"", summary)?,
            subscriptions: required(input, "subscriptions", "[\"booking.*\"]", subscriptions)?,
            settings: settings.unwrap_or_default(),
            version,
            state_version: state_version.map_or(Ok(0), |number| parse_number(&number))?,
        };
        declaration.check(input)?;
        Ok(declaration)
    }
}

impl Declaration {
    fn check(&self, input: ParseStream<'_>) -> Result<()> {
        check_name(&self.name)?;
        check_summary(&self.summary)?;
        self.version.as_ref().map_or(Ok(()), check_version)?;
        if self.subscriptions.is_empty() {
            return Err(input.error("`subscriptions` is empty: the plugin would see no event"));
        }
        for (index, subscription) in self.subscriptions.iter().enumerate() {
            check_subscription(subscription)?;
            no_repeat(subscription, &self.subscriptions[..index])?;
        }
        let keys: Vec<LitStr> = self.settings.iter().map(|one| one.key.clone()).collect();
        for (index, key) in keys.iter().enumerate() {
            no_repeat(key, &keys[..index])?;
        }
        Ok(())
    }
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let word: Ident = input.parse()?;
        if word != "setting" {
            return Err(Error::new(
                word.span(),
                "expected `setting(key = \"…\", summary = \"…\")`",
            ));
        }
        let content;
        parenthesized!(content in input);
        let mut key = None;
        let mut summary = None;
        let mut default = None;
        while !content.is_empty() {
            let part: Ident = content.parse()?;
            content.parse::<Token![=]>()?;
            match part.to_string().as_str() {
                "key" => once(&part, &mut key, content.parse()?)?,
                "summary" => once(&part, &mut summary, content.parse()?)?,
                "default" => once(&part, &mut default, content.parse()?)?,
                other => {
                    return Err(Error::new(
                        part.span(),
                        format!(
                            "unknown key `{other}`: a setting has `key`, `summary` and `default`"
                        ),
                    ));
                }
            }
            separator(&content)?;
        }
        let setting = Self {
            key: required(&content, "key", "\"link_base\"", key)?,
            summary: required(&content, "summary", "\"What it is for.\"", summary)?,
            default,
        };
        if !is_setting_key(&setting.key.value()) {
            return Err(Error::new(
                setting.key.span(),
                "a setting's key is made of letters, digits, `_` and `-`, as in the operator's TOML",
            ));
        }
        check_summary(&setting.summary)?;
        Ok(setting)
    }
}

fn list<T: Parse>(input: ParseStream<'_>) -> Result<Vec<T>> {
    let content;
    bracketed!(content in input);
    let items = Punctuated::<T, Token![,]>::parse_terminated(&content)?;
    Ok(items.into_iter().collect())
}

fn separator(input: ParseStream<'_>) -> Result<()> {
    if !input.is_empty() {
        input.parse::<Token![,]>()?;
    }
    Ok(())
}

fn once<T>(key: &Ident, slot: &mut Option<T>, value: T) -> Result<()> {
    if slot.is_some() {
        return Err(Error::new(key.span(), format!("`{key}` stands here twice")));
    }
    *slot = Some(value);
    Ok(())
}

fn required<T>(input: ParseStream<'_>, key: &str, example: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| input.error(format!("`{key}` is missing: add `{key} = {example}`")))
}

fn no_repeat(value: &LitStr, before: &[LitStr]) -> Result<()> {
    if before.iter().any(|one| one.value() == value.value()) {
        let message = format!("`{}` stands here twice", value.value());
        return Err(Error::new(value.span(), message));
    }
    Ok(())
}

fn parse_number(number: &LitInt) -> Result<u32> {
    let message = format!("a version of the state is a number from 0 to {}", u32::MAX);
    number
        .base10_parse()
        .map_err(|_| Error::new(number.span(), message))
}

fn check_name(name: &LitStr) -> Result<()> {
    let text = name.value();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins_well = text.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins_well || text.len() > MAX_NAME_CHARACTERS || !text.chars().all(allowed) {
        return Err(Error::new(
            name.span(),
            format!(
                "a plugin's name begins with a letter and is made of lower-case letters, digits and hyphens, up to {MAX_NAME_CHARACTERS} of them"
            ),
        ));
    }
    Ok(())
}

fn check_version(version: &LitStr) -> Result<()> {
    let text = version.value();
    let numbers: Vec<&str> = text.split('.').collect();
    let is_number =
        |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u32>().is_ok();
    if numbers.len() != 3 || !numbers.iter().all(is_number) {
        let message = "a version is three numbers, `major.minor.patch`";
        return Err(Error::new(version.span(), message));
    }
    Ok(())
}

fn check_summary(summary: &LitStr) -> Result<()> {
    let text = summary.value();
    if text.trim().is_empty() {
        let message = "the summary is empty: say in one sentence what it is for";
        return Err(Error::new(summary.span(), message));
    }
    if text.len() > MAX_SUMMARY_BYTES || text.contains(char::is_control) {
        let message = format!("a summary is one line of at most {MAX_SUMMARY_BYTES} bytes");
        return Err(Error::new(summary.span(), message));
    }
    Ok(())
}

fn check_subscription(subscription: &LitStr) -> Result<()> {
    let text = subscription.value();
    let is_valid = match text.split_once('.') {
        _ if text == "*" => true,
        Some((family, "*")) => is_word(family),
        Some((family, rest)) => is_word(family) && rest.split('.').all(is_word),
        None => false,
    };
    if is_valid {
        return Ok(());
    }
    Err(Error::new(
        subscription.span(),
        format!(
            "`{text}` is no subscription: name a kind (`booking.created`), a family (`booking.*`) or everything (`*`)"
        ),
    ))
}

fn is_word(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !text.is_empty() && text.chars().all(allowed)
}

fn is_setting_key(text: &str) -> bool {
    is_word(text)
}
