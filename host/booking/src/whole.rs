//! Whole numbers in JSON, for `#[serde(deserialize_with)]`. To JSON Schema `5.0` is as whole as `5` (draft
//! 2020-12, section 4.2.3), and some languages write it like that; serde takes it for a fraction.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

/// A number that must be there.
pub(crate) fn required<'de, D: Deserializer<'de>, T: TryFrom<i64>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(Whole(PhantomData))
}

/// A number that may be null, or missing with `#[serde(default)]`.
pub(crate) fn optional<'de, D: Deserializer<'de>, T: TryFrom<i64>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_option(MaybeWhole(PhantomData))
}

struct Whole<T>(PhantomData<T>);

impl<T: TryFrom<i64>> Visitor<'_> for Whole<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        let signed = i64::try_from(number).ok();
        let number = signed.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))?;
        self.visit_i64(number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        /// Beyond it not every whole number has a float of its own (2 to the power of 53).
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if number.fract() != 0.0 || number.abs() > EXACT {
            return Err(E::invalid_value(Unexpected::Float(number), &self));
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
        self.visit_i64(number as i64)
    }
}

struct MaybeWhole<T>(PhantomData<T>);

impl<'de, T: TryFrom<i64>> Visitor<'de> for MaybeWhole<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number or null")
    }

    fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        required(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Order {
        #[serde(deserialize_with = "super::required")]
        seats: u32,
        #[serde(default, deserialize_with = "super::optional")]
        tables: Option<i64>,
    }

    fn read(text: &str) -> Result<Order, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_without_a_fraction_is_whole_however_it_is_written() {
        for five in ["5", "5.0", "5e0", "0.5e1"] {
            let order = read(&format!(r#"{{"seats": {five}, "tables": {five}}}"#)).unwrap();
            assert_eq!((order.seats, order.tables), (5, Some(5)), "{five}");
        }
        assert_eq!(read(r#"{"seats": 1}"#).unwrap().tables, None);
        let null = read(r#"{"seats": 1, "tables": null}"#).unwrap();
        assert_eq!(null.tables, None);
    }

    #[test]
    fn what_is_no_whole_number_is_refused() {
        for odd in [
            "1.5",
            "-1",
            "4294967296",
            "1e300",
            "9007199254740994.0",
            "18446744073709551615",
            "\"1\"",
            "true",
            "null",
        ] {
            let refusal = read(&format!(r#"{{"seats": {odd}}}"#)).unwrap_err();
            assert!(refusal.contains("a whole number"), "{odd}: {refusal}");
        }
    }
}
